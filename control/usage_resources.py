"""What the management API gives of usage: reports, quotas, statements."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from control.usage_tiers import Step


class _Resource(BaseModel):
    model_config = ConfigDict(frozen=True)


class UsageItem(_Resource):
    """One row of the report: the time with a `step`, the dimensions asked for, and the figures."""

    time: str | None = None
    application: str | None = None
    key: str | None = None
    model: str | None = None
    version: int | None = None
    variant: str | None = None
    status: int | None = None
    requests: int
    rows: int
    errors: int
    """Answers of status 400 and above."""
    p50_ms: float | None
    p99_ms: float | None
    compute_ms: float
    """Time in runs of the graph."""
    queue_ms: float
    """Time in the queues of engines."""
    bytes_in: int
    bytes_out: int


class UsagePage(_Resource):
    """One page of a report; ``next`` is the ``after`` of the following one, null at the end."""

    items: list[UsageItem]
    next: str | None
    resolution: Step = Field(
        description="The shortest spans that are kept of the report's beginning. Where that is "
        "`hour` or `day`, its ends and steps are widened to whole ones."
    )


class QuotaUse(_Resource):
    """A subscription's consumption in the present period of its plan's quota."""

    application: str
    model: str
    plan: str
    unit: str
    period: str = Field(examples=["2027-01"])
    limit: int
    used: int
    left: int
    resets_at: str


class StatementLine(_Resource):
    """What was used of a model under one plan at one price."""

    month: str = Field(examples=["2027-01"])
    """When it was used."""
    model: str
    plan: str
    requests: int
    """Billed requests: answered with 200, 400 or 422."""
    failed_requests: int
    """Requests answered with 5xx: free of charge, and not in `requests`."""
    rows: int
    compute_ms: float
    price_per_thousand: str | None
    currency: str | None
    amount: str


class StatementTotal(_Resource):
    """What a statement adds up to in one currency."""

    currency: str
    amount: str


class Statement(_Resource):
    """What an application has to pay for a month. A closed one never changes."""

    id: str = Field(examples=["web-shop/2027-01"])
    application: str
    month: str
    state: Literal["open", "closed"]
    start: str
    end: str
    closed_at: str | None
    lines: list[StatementLine]
    late: list[StatementLine]
    """Usage of earlier months that arrived after their statements were closed."""
    totals: list[StatementTotal]
    digest: str | None
    """``sha256:`` of the canonical JSON (RFC 8785) of everything else; null while it is open."""
