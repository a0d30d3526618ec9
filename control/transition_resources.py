"""What the management API gives of versions that end: who still calls, and what may go."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from protocol.configuration import VersionState

Trend = Literal["new", "rising", "steady", "falling", "stopped"]
Basis = Literal["shadow", "replay", "unknown"]
Advice = Literal["keep", "deprecate", "retire"]


class _Resource(BaseModel):
    model_config = ConfigDict(frozen=True)


class AnswersOfSuccessor(_Resource):
    """Whether a caller's last requests would get other answers from the successor."""

    basis: Basis = Field(
        description="`shadow`: the successor scored the same requests; `replay`: captured requests "
        "were scored again; `unknown`: neither, `reason` says why."
    )
    reason: str
    compared: int
    """Rows, or requests, that were compared."""
    different: int
    share: float | None
    """``different / compared``; null: nothing was compared."""


class CallerItem(_Resource):
    """An application that called the version."""

    application: str
    consumer: str | None
    """Null: nothing is known of the application any more."""
    ended: bool
    """Whether the application was deleted since."""
    requests: int
    errors: int
    rows: int
    ways: dict[str, int] = Field(
        description="Requests by how the version was chosen: `stable`, `canary`, or `pinned` by "
        "its number, a label, or the application's pin."
    )
    pinned: bool
    """Whether the application is pinned to the version now."""
    first_call_at: str
    """Exact to the day."""
    last_call_at: str
    last_week: int
    """Requests of the last seven days."""
    week_before: int
    trend: Trend
    answers: AnswersOfSuccessor


class TransitionReport(_Resource):
    """Who still calls a version, and what its end would change for them."""

    model: str
    version: int
    state: VersionState
    generated_at: str
    days: int
    deprecated_since: str | None
    sunset: str | None
    days_left: int | None
    """Whole days until the sunset; null: none is decided, or it has passed."""
    successor: int | None
    note: str
    held_by: list[str]
    """What sends calls to the version: it cannot be retired before that is moved or ended."""
    requests: int
    """Of all applications, on the page or not."""
    applications: int
    """All that called."""
    callers: list[CallerItem]
    """One page of them, the busiest first, those as busy by name."""
    next: str | None = Field(
        description="`after` of the following page, which looks at the same time as this one; null "
        "at the end."
    )


class QualityItem(_Resource):
    """The main metric of the newest evaluation."""

    metric: str
    value: float
    low: float | None
    high: float | None
    rows: int
    rows_name: str


class TrafficItem(_Resource):
    """Who called within the report's days."""

    requests: int
    errors: int
    callers: int
    last_call_at: str | None


class CostItem(_Resource):
    """What the version takes."""

    compute_ms: float
    engines: int
    memory_bytes: int | None = Field(
        description="What its engines have to themselves now; null: none has told, or none runs."
    )
    artifact_bytes: int


class RetirementItem(_Resource):
    """A version on the scales."""

    version: int
    state: VersionState
    created_at: str
    aliases: list[str]
    quality: QualityItem | None
    traffic: TrafficItem
    cost: CostItem
    recommendation: Advice
    reason: str


class RetirementReport(_Resource):
    """What each version of a model is good for, and what it costs."""

    model: str
    generated_at: str
    days: int
    versions: list[RetirementItem]
