"""What the management API takes and gives: consumers, applications, subscriptions, keys.

Names are checked where they are used, so that a bad one is refused the same way everywhere.
"""

from datetime import datetime
from typing import Annotated, ClassVar, Generic, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from registry.clock import rfc3339

DEFAULT_CONSUMER = "default"
"""Owner of applications that name none; made when it is first needed."""

MAX_TIME_MS = 253_402_300_799_000
"""The last second of the year 9999, behind which times cannot be written."""


def no_nul(text: str) -> str:
    """``text``, unless it holds NUL, which PostgreSQL does not store."""
    if "\0" in text:
        raise ValueError("text must not contain NUL")
    return text


Title = Annotated[str, Field(max_length=200), AfterValidator(no_nul)]


class Request(BaseModel):
    """What a client sends. Fields that do not exist are refused: they may be mistyped."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Resource(BaseModel):
    """What the API shows."""

    model_config = ConfigDict(frozen=True)

    volatile: ClassVar[frozenset[str]] = frozenset()
    """Fields that change by use, not by management: entity tags leave them out."""


class ConsumerRequest(Request):
    """What a consumer is to be; a field left out keeps its value."""

    title: Title | None = None


class Consumer(Resource):
    """A person, team or company that calls models."""

    name: str
    title: str
    created_at: str
    updated_at: str


class ApplicationRequest(Request):
    """What an application is to be; a field left out keeps its value."""

    consumer: str | None = None
    title: Title | None = None


class Application(Resource):
    """A program of a consumer: it holds keys and subscriptions."""

    name: str
    consumer: str
    title: str
    created_at: str
    updated_at: str


class SubscriptionRequest(Request):
    """The plan under which the application calls the model."""

    plan: str


class Subscription(Resource):
    """An application's right to call a model."""

    application: str
    model: str
    plan: str
    created_at: str
    updated_at: str


class KeyRequest(Request):
    """A key to be made."""

    application: str
    label: Title = ""
    environment: Literal["live", "test"] = "live"
    models: Annotated[list[str], Field(min_length=1, max_length=1000)] | None = None
    """Restricts the key to these models; left out: all that the application subscribes to."""
    expires_at: AwareDatetime | None = None


class Key(Resource):
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


class Page(Resource, Generic[Item]):
    """One page of a list; ``next`` is the ``after`` of the following one, null at the end."""

    items: list[Item]
    next: str | None


def optional_time(at_ms: int | None) -> str | None:
    """A time that may be missing, as the API writes it."""
    return None if at_ms is None else rfc3339(at_ms)


def milliseconds(moment: datetime | None) -> int | None:
    """A moment as UNIX milliseconds."""
    return None if moment is None else round(moment.timestamp() * 1000)
