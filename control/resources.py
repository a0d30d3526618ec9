"""What the management API takes and gives: consumers, applications, subscriptions, plans, keys.

Names are checked where they are used, so that a bad one is refused the same way everywhere.
"""

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from registry.clock import rfc3339

DEFAULT_CONSUMER = "default"
"""Owner of applications that name none; made when it is first needed."""

MAX_TIME_MS = 253_402_300_799_000
"""The last second of the year 9999, behind which times cannot be written."""


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("text must not contain NUL")
    return text


Title = Annotated[str, Field(max_length=200), AfterValidator(_no_nul)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Resource(BaseModel):
    model_config = ConfigDict(frozen=True)


class ConsumerRequest(_Request):
    """What a consumer is to be; a field left out keeps its value."""

    title: Title | None = None


class Consumer(_Resource):
    """A person, team or company that calls models."""

    name: str
    title: str
    created_at: str
    updated_at: str


class ApplicationRequest(_Request):
    """What an application is to be; a field left out keeps its value."""

    consumer: str | None = None
    title: Title | None = None


class Application(_Resource):
    """A program of a consumer: it holds keys and subscriptions."""

    name: str
    consumer: str
    title: str
    created_at: str
    updated_at: str


class SubscriptionRequest(_Request):
    """The plan under which the application calls the model."""

    plan: str


class Subscription(_Resource):
    """An application's right to call a model."""

    application: str
    model: str
    plan: str
    created_at: str
    updated_at: str


class Plan(_Resource):
    """What a subscription allows."""

    name: str
    title: str
    max_body_bytes: int | None = None


class KeyRequest(_Request):
    """A key to be made."""

    application: str
    label: Title = ""
    environment: Literal["live", "test"] = "live"
    models: Annotated[list[str], Field(min_length=1, max_length=1000)] | None = None
    """Restricts the key to these models; left out: all that the application subscribes to."""
    expires_at: AwareDatetime | None = None


class Key(_Resource):
    """An API key, without its secret."""

    id: str
    prefix: str
    application: str
    label: str
    environment: str
    models: list[str] | None
    expires_at: str | None
    created_at: str
    revoked_at: str | None


class NewKey(Key):
    """An API key as it is answered once, when it is made."""

    secret: str


Item = TypeVar("Item")


class Page(_Resource, Generic[Item]):
    """One page of a list; ``next`` is the ``after`` of the following one, null at the end."""

    items: list[Item]
    next: str | None


def optional_time(at_ms: int | None) -> str | None:
    """A time that may be missing, as the API writes it."""
    return None if at_ms is None else rfc3339(at_ms)


def milliseconds(moment: datetime | None) -> int | None:
    """A moment as UNIX milliseconds."""
    return None if moment is None else round(moment.timestamp() * 1000)
