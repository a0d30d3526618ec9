"""What the webhook routes take and give."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from control.resources import Moment, Resource, Title

Scope = Literal["all", "consumer", "models"]
State = Literal["pending", "delivered", "failed"]
Events = Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=50)]
Url = Annotated[str, Field(max_length=2000)]

MAX_OVERLAP_S = 30 * 24 * 3600
DEFAULT_OVERLAP_S = 24 * 3600


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WebhookRequest(_Request):
    """An endpoint to be made."""

    url: Url
    """Where deliveries are posted to: `https://`, a public address."""
    events: Events = Field(default=["*"], examples=[["key.*", "quota.threshold_reached"]])
    """Event types, `KIND.*` for all of a kind, `*` for all."""
    title: Title = ""
    enabled: bool = True
    consumer: str | None = None
    """Restricts it to what concerns this consumer. A consumer's user need not say it."""
    models: Annotated[list[str], Field(min_length=1, max_length=1000)] | None = None
    """Restricts it to these models."""


class WebhookChange(_Request):
    """What is to change; a field left out keeps its value."""

    url: Url | None = None
    events: Events | None = None
    title: Title | None = None
    enabled: bool | None = None
    """`true` also ends a disabling that failures have caused."""


class Webhook(Resource):
    """An endpoint, without its secret."""

    volatile: ClassVar[frozenset[str]] = frozenset({"failing_since"})

    id: str
    url: str
    events: list[str]
    title: str
    enabled: bool
    disabled_reason: str
    """Why it is not enabled, when it was not its owner who disabled it."""
    scope: Scope
    """What it hears of: everything, one consumer's matters, or those of models."""
    consumer: str | None
    models: list[str] | None
    """With scope `models`: which; null: all that the owner manages at the time."""
    owner: str
    """Who made it."""
    secret_generation: int
    """Counts the rotations of the secret."""
    previous_secret_until: str | None
    """Until then deliveries carry the previous secret's signature as well."""
    failing_since: str | None
    """Since when no delivery has been taken; null while they are."""
    created_at: str
    updated_at: str


class NewWebhook(Webhook):
    """An endpoint as it is answered when it is made or its secret rotated."""

    secret: str
    """`whsec_...`: what receivers verify signatures with."""


class RotateRequest(_Request):
    """How the secret is replaced."""

    overlap_s: int = Field(default=DEFAULT_OVERLAP_S, ge=0, le=MAX_OVERLAP_S)
    """How long deliveries carry both signatures; 0: the old secret ends now."""


class Attempt(Resource):
    """One attempt at a delivery."""

    at: str
    status: int | None
    """HTTP status; null when no answer came."""
    error: str
    duration_ms: int


class Delivery(Resource):
    """One event for one endpoint."""

    id: str
    webhook: str
    event: str
    """Sent as `webhook-id`: the same for every attempt, and every endpoint."""
    type: str
    state: State
    attempts: list[Attempt]
    """The newest twenty, oldest first."""
    next_attempt_at: str | None
    """Null when no further attempt is planned."""
    created_at: str
    updated_at: str


class DeliveryDetail(Delivery):
    """A delivery with what is sent."""

    body: str


class ReplayRequest(_Request):
    """Which events are to be delivered again."""

    start: Moment = Field(alias="from")
    end: Moment = Field(alias="to")
    """Events that happened at `from` or later, and before `to`."""
    include: Literal["undelivered", "all"] = "undelivered"
    """`undelivered`: those that failed, or were missed while the endpoint was disabled; none from
    before it was made."""
    after: int = Field(default=0, ge=0, le=2**53 - 1)
    """`next` of the answer before."""


class Replay(Resource):
    """What a replay has queued."""

    queued: int
    next: int | None
    """Repeat the request with this as `after`, until it is null."""


class EventType(Resource):
    """A kind of event that endpoints may ask for."""

    type: str
    description: str
