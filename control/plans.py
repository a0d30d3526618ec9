"""Plans as the management API takes and gives them, and the ones that are built in."""

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from control.resources import Request, Resource, Scopes, Title, no_nul
from protocol.configuration import (
    PlanDoc,
    QuotaDoc,
    QuotaPeriod,
    QuotaUnit,
    RateDoc,
)
from protocol.errors import Code, TollwayError
from protocol.names import NAME_PATTERN

MAX_RATES: Final = 8
MAX_COUNT: Final = 10**15
"""Stays exact in JSON numbers and in 64 bits."""
MAX_REQUESTS: Final = 10**9
MAX_WINDOW_S: Final = 31 * 86_400
MAX_CONCURRENCY: Final = 1_000_000
MAX_BYTES: Final = 1 << 40
MAX_DEADLINE_MS: Final = 86_400_000
RESERVED: Final = frozenset({"quota", "concurrency"})
"""Names under which the other limits of a plan are reported."""

Approval = Literal["automatic", "publisher"]
FailMode = Literal["open", "closed"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rate(_Part):
    """At most `requests` in any `window_s` seconds, `burst` of them at once."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    requests: Annotated[int, Field(strict=True, ge=1, le=MAX_REQUESTS)]
    window_s: Annotated[int, Field(strict=True, ge=1, le=MAX_WINDOW_S)]
    burst: Annotated[int, Field(strict=True, ge=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name in RESERVED:
            raise ValueError(f"the name '{self.name}' is taken by another limit of the plan")
        if self.burst is not None and self.burst > self.requests:
            raise ValueError(
                f"burst {self.burst} is more than the {self.requests} requests of the window"
            )
        return self


class Quota(_Part):
    """At most `limit` units in a calendar period (UTC)."""

    limit: Annotated[int, Field(strict=True, ge=1, le=MAX_COUNT)]
    unit: QuotaUnit = "requests"
    period: QuotaPeriod = "month"


class Price(_Part):
    """An amount of money. The amount is a decimal in a string: it is never rounded."""

    amount: Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$")]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    """ISO 4217."""


def _distinct_rates(rates: tuple[Rate, ...]) -> tuple[Rate, ...]:
    names = [rate.name for rate in rates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"rate names must be unique: {', '.join(twice)} is there more than once")
    return rates


Text = Annotated[str, Field(max_length=2000), AfterValidator(no_nul)]


class PlanRequest(Request):
    """A plan, whole: a limit that is left out is none."""

    title: Title = ""
    description: Text = ""
    rates: Annotated[
        tuple[Rate, ...], Field(max_length=MAX_RATES), AfterValidator(_distinct_rates)
    ] = ()
    """All of them hold at once."""
    quota: Quota | None = None
    concurrency: Annotated[int, Field(strict=True, ge=1, le=MAX_CONCURRENCY)] | None = None
    """Requests that may be under way at once."""
    max_body_bytes: Annotated[int, Field(strict=True, ge=1, le=MAX_BYTES)] | None = None
    max_rows: Annotated[int, Field(strict=True, ge=1, le=MAX_REQUESTS)] | None = None
    """Rows in one request."""
    deadline_ms: Annotated[int, Field(strict=True, ge=1, le=MAX_DEADLINE_MS)] | None = None
    """Longest that a request may take, from its headers to its answer."""
    scopes: Scopes | None = None
    """What keys may be used for under the plan; null: everything."""
    fail_mode: FailMode = "closed"
    """Whether calls pass, uncounted, while the counters cannot be reached."""
    price_per_thousand: Price | None = None
    """Price of a thousand requests; null: free of charge."""
    approval: Approval = "automatic"
    """`publisher`: a subscription waits until who manages the model approves it."""


class Plan(PlanRequest, Resource):
    """What a subscription allows. Limits count per subscription."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    built_in: bool
    """Whether the software brings it: such a plan can be changed, not deleted."""
    created_at: str
    updated_at: str


def check_plan(plan: PlanRequest) -> None:
    """Refuse, as ``INVALID``, limits that contradict one another. Not a validator of the fields:
    plans that were stored before this was asked still are read."""
    quota = plan.quota
    if (
        quota is not None
        and quota.unit == "rows"
        and plan.max_rows is not None
        and plan.max_rows > quota.limit
    ):
        raise TollwayError(
            Code.INVALID,
            f"max_rows {plan.max_rows} is more than the {quota.limit} rows of the whole quota, "
            "so that such a request could never be reserved: lower it, or raise the quota",
        )


def plan_document(name: str, plan: PlanRequest) -> PlanDoc:
    """What gateways need to know of the plan."""
    quota = plan.quota
    return PlanDoc(
        name=name,
        rates=tuple(
            RateDoc(name=r.name, requests=r.requests, window_s=r.window_s, burst=r.burst)
            for r in plan.rates
        ),
        quota=None
        if quota is None
        else QuotaDoc(limit=quota.limit, unit=quota.unit, period=quota.period),
        concurrency=plan.concurrency,
        max_body_bytes=plan.max_body_bytes,
        max_rows=plan.max_rows,
        deadline_ms=plan.deadline_ms,
        scopes=plan.scopes,
        fail_open=plan.fail_mode == "open",
    )


BUILT_IN: Final[dict[str, PlanRequest]] = {
    "free": PlanRequest(
        title="Free",
        description="For trying a model out.",
        rates=(
            Rate(name="second", requests=5, window_s=1),
            Rate(name="minute", requests=60, window_s=60),
        ),
        quota=Quota(limit=10_000),
        concurrency=2,
        max_body_bytes=1 << 20,
        max_rows=1_000,
    ),
    "standard": PlanRequest(
        title="Standard",
        description="For applications in production.",
        rates=(
            Rate(name="second", requests=100, window_s=1),
            Rate(name="minute", requests=3_000, window_s=60),
        ),
        quota=Quota(limit=1_000_000),
        concurrency=32,
        max_body_bytes=16 << 20,
        max_rows=100_000,
    ),
    "unlimited": PlanRequest(title="Unlimited", description="Without any limit."),
}
"""Plans that every installation has. An operator's change to one of them stays."""
