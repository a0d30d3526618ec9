"""What the management API takes and gives: consumers, applications, subscriptions, keys.

Names are checked where they are used, so that a bad one is refused the same way everywhere.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, ClassVar, Final, Generic, Literal, Self, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from control import addresses
from protocol.configuration import SCOPES, Environment, Scope
from protocol.errors import Code, TollwayError
from registry.clock import rfc3339

DEFAULT_CONSUMER = "default"
"""Owner of applications that name none; made when it is first needed."""

MAX_TIME_MS = 253_402_300_799_000
"""The last second of the year 9999, behind which times cannot be written."""


def _writable(moment: datetime) -> datetime:
    if not 0 <= moment.timestamp() * 1000 <= MAX_TIME_MS:
        raise ValueError("lies before the year 1970 or after the year 9999")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_writable)]
"""A time with its offset that UNIX milliseconds and RFC 3339 can both tell."""


def no_nul(text: str) -> str:
    """``text``, unless it holds NUL, which PostgreSQL does not store."""
    if "\0" in text:
        raise ValueError("text must not contain NUL")
    return text


def distinct_scopes(scopes: tuple[Scope, ...]) -> tuple[Scope, ...]:
    """Scopes once each and in one order, so that the same wish is the same resource."""
    return tuple(scope for scope in SCOPES if scope in scopes)


MAX_OVERLAP_S: Final = 30 * 86_400
"""Longest time that an earlier secret of a key works beside the new one."""
Title = Annotated[str, Field(max_length=200), AfterValidator(no_nul)]
Reason = Annotated[str, Field(max_length=500), AfterValidator(no_nul)]
Scopes = Annotated[
    tuple[Scope, ...], Field(min_length=1, max_length=16), AfterValidator(distinct_scopes)
]
Origins = Annotated[
    tuple[Annotated[str, AfterValidator(addresses.origin)], ...],
    Field(max_length=addresses.MAX_ORIGINS),
    AfterValidator(addresses.distinct),
]
Networks = Annotated[
    tuple[Annotated[str, AfterValidator(addresses.network)], ...],
    Field(max_length=addresses.MAX_NETWORKS),
    AfterValidator(addresses.distinct),
]
Models = Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]


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
    origins: Origins | None = None
    """Web origins whose pages may call with this application's keys; none by default."""
    capture: Annotated[bool, Field(strict=True)] | None = None
    """Whether payloads of its calls may be kept where a model captures some; true by default."""


class Application(Resource):
    """A program of a consumer: it holds keys and subscriptions."""

    name: str
    consumer: str
    title: str
    origins: tuple[str, ...] = ()
    capture: bool = True
    created_at: str
    updated_at: str


class SubscriptionRequest(Request):
    """The plan under which the application calls the model."""

    plan: str


SubscriptionState = Literal["active", "pending", "refused"]


class Subscription(Resource):
    """An application's right to call a model."""

    application: str
    model: str
    plan: str
    state: SubscriptionState = "active"
    """Only an `active` one lets the application call; `pending` waits for approval."""
    requested_plan: str | None = None
    """The plan that an active subscription moves to when that is approved."""
    reason: str | None = None
    """What the last approval or refusal gave as its reason."""
    decided_at: str | None = None
    created_at: str
    updated_at: str


class Approval(Request):
    """Why a subscription is approved; may be left out."""

    reason: Reason = ""


class Refusal(Request):
    """Why a subscription is refused."""

    reason: Annotated[Reason, Field(min_length=1)]


class KeyRequest(Request):
    """A key to be made."""

    application: str
    label: Title = ""
    environment: Environment = "live"
    scopes: Scopes | None = None
    """What it may be used for; left out: everything that the plan allows."""
    models: Models | None = None
    """Restricts the key to these models; left out: all that the application subscribes to."""
    networks: Networks = ()
    """Networks (CIDR) or addresses from which it may be used; left out: from anywhere."""
    expires_at: Moment | None = None


class KeyChange(Request):
    """What is to change about a key: a field left out stays, null lifts a restriction."""

    label: Title | None = None
    scopes: Scopes | None = None
    models: Models | None = None
    networks: Networks | None = None
    expires_at: Moment | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if "label" in self.model_fields_set and self.label is None:
            raise ValueError("label must be a text; an empty one takes it away")
        return self


class Rotation(Request):
    """A new secret for a key."""

    overlap_s: Annotated[int, Field(strict=True, ge=0, le=MAX_OVERLAP_S)]
    """Seconds that earlier secrets go on working: 0 ends them now."""


class KeyOverlap(Resource):
    """An earlier secret of a rotated key that still works."""

    generation: int
    prefix: str
    ends_at: str


class Key(Resource):
    """An API key, without its secret."""

    volatile: ClassVar[frozenset[str]] = frozenset({"last_used_at"})

    id: str
    prefix: str
    application: str
    label: str
    environment: Environment
    generation: int
    """Counts the secrets that it has had."""
    scopes: tuple[Scope, ...] | None
    models: tuple[str, ...] | None
    networks: tuple[str, ...]
    expires_at: str | None
    created_at: str
    rotated_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    """To the minute or so; null: never, as far as usage has been taken in."""
    overlaps: tuple[KeyOverlap, ...]
    """Earlier secrets that still work."""


class NewKey(Key):
    """An API key as it is answered once, when its secret is made."""

    volatile: ClassVar[frozenset[str]] = frozenset({*Key.volatile, "secret"})
    """Its entity tag is that of the key."""

    secret: str


Item = TypeVar("Item")


class Page(Resource, Generic[Item]):
    """One page of a list; ``next`` is the ``after`` of the following one, null at the end."""

    items: list[Item]
    next: str | None

    @classmethod
    def of(cls, found: list[Item], limit: int, place: Callable[[Item], str]) -> Self:
        """The page of the first ``limit`` of what was found by asking for one more than that;
        ``place`` gives the ``after`` that stands for an item."""
        following = place(found[limit - 1]) if len(found) > limit else None
        return cls(items=found[:limit], next=following)


def optional_time(at_ms: int | None) -> str | None:
    """A time that may be missing, as the API writes it."""
    return None if at_ms is None else rfc3339(at_ms)


def expiry(moment: datetime | None, now: int) -> int | None:
    """The moment at which a credential is to end, as UNIX milliseconds; None: never.

    Raises ``INVALID`` for one that is not ahead, or cannot be written.
    """
    expires_ms = milliseconds(moment)
    if expires_ms is not None and not now < expires_ms <= MAX_TIME_MS:
        raise TollwayError(Code.INVALID, "expires_at is in the past, or after the year 9999")
    return expires_ms


def milliseconds(moment: datetime | None) -> int | None:
    """A moment as UNIX milliseconds."""
    return None if moment is None else round(moment.timestamp() * 1000)
