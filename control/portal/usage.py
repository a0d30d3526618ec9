"""What the page of an application's usage shows: figures over a range, and charts of them."""

import asyncio
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from control.portal.api import ApiRefusal
from control.portal.session import Visit
from control.resources import Application, Page
from control.usage_resources import QuotaUse, Statement, UsageItem, UsagePage
from control.usage_tiers import Step

Range = Literal["1h", "24h", "7d", "30d", "90d"]
MANY: Final = 100
_MINUTE_S: Final = 60
_STEP_S: Final[dict[Step, int]] = {"minute": _MINUTE_S, "hour": 3_600, "day": 86_400}


class Span(msgspec.Struct, frozen=True):
    """A range that can be chosen: whole steps, the one under way included."""

    label: str
    steps: int
    step: Step


RANGES: Final[dict[Range, Span]] = {
    "1h": Span("Last hour", 60, "minute"),
    "24h": Span("Last 24 hours", 24, "hour"),
    "7d": Span("Last 7 days", 7 * 24, "hour"),
    "30d": Span("Last 30 days", 30, "day"),
    "90d": Span("Last 90 days", 90, "day"),
}


class Wish(msgspec.Struct, frozen=True):
    """What of an application's usage is asked for."""

    application: str
    range: Range
    model: str = ""
    key: str = ""

    @property
    def span(self) -> Span:
        """The range's span."""
        return RANGES[self.range]

    def query(self, now_ms: int) -> dict[str, str | int | None]:
        """As the API takes it: until now, the minute under way included."""
        times = self.times(now_ms)
        return {
            "application": self.application,
            "model": self.model or None,
            "key": self.key or None,
            "from": datetime.fromtimestamp(times[0], UTC).isoformat(),
        }

    def times(self, now_ms: int) -> list[int]:
        """UNIX seconds at which the steps begin."""
        size = _STEP_S[self.span.step]
        last = now_ms // 1000 // size * size
        return [last - size * back for back in reversed(range(self.span.steps))]


class UsageShown(msgspec.Struct, frozen=True):
    """The page of usage."""

    application: Application
    total: UsageItem | None
    """Null: nobody called."""
    models: list[UsageItem]
    statuses: list[UsageItem]
    quotas: list[QuotaUse]
    statement: Statement | None
    """Of the month under way; null: none can be read."""
    requests: dict[str, object]
    latency: dict[str, object]


async def read_usage(visit: Visit, wish: Wish) -> UsageShown:
    """What the page shows: seven calls at once, whatever there is."""
    now = visit.now_ms
    query = wish.query(now)
    month = datetime.fromtimestamp(now / 1000, UTC).strftime("%Y-%m")
    every = {**query, "model": None}
    (application, quotas, statement), (total, models, statuses), steps = await asyncio.gather(
        asyncio.gather(
            visit.api.get(f"/applications/{wish.application}", Application),
            visit.api.get("/quotas", Page[QuotaUse], application=wish.application, limit=MANY),
            _statement(visit, wish.application, month),
        ),
        asyncio.gather(
            visit.api.get("/usage", UsagePage, **query, limit=1),
            visit.api.get("/usage", UsagePage, **every, by="model", limit=MANY),
            visit.api.get("/usage", UsagePage, **query, by="status", limit=MANY),
        ),
        read_steps(visit, wish, now),
    )
    times = wish.times(now)
    return UsageShown(
        application,
        next((one for one in total.items if one.requests), None),
        models.items,
        statuses.items,
        [one for one in quotas.items if wish.model in ("", one.model)],
        statement,
        requests_chart(steps, times),
        latency_chart(steps, times),
    )


async def read_steps(visit: Visit, wish: Wish, now_ms: int) -> list[UsageItem]:
    """The usage of each step that has any."""
    found = await visit.api.get(
        "/usage", UsagePage, **wish.query(now_ms), step=wish.span.step, limit=1000
    )
    return found.items


async def _statement(visit: Visit, application: str, month: str) -> Statement | None:
    try:
        return await visit.api.get(f"/applications/{application}/statements/{month}", Statement)
    except ApiRefusal as refusal:
        if refusal.status != 404:  # noqa: PLR2004
            raise
        return None


def requests_chart(steps: list[UsageItem], times: list[int]) -> dict[str, object]:
    """Answers by whether they are errors, over time; without a call: 0."""
    found = _by_time(steps)
    return {
        "x": times,
        "series": [
            {
                "label": "answered",
                "colour": 1,
                "values": [found[t].requests - found[t].errors if t in found else 0 for t in times],
            },
            {
                "label": "errors",
                "colour": 2,
                "values": [found[t].errors if t in found else 0 for t in times],
            },
        ],
        "min": 0,
    }


def latency_chart(steps: list[UsageItem], times: list[int]) -> dict[str, object]:
    """Median and 99th percentile over time; without a call there is none."""
    found = _by_time(steps)
    return {
        "x": times,
        "series": [
            {
                "label": "median",
                "colour": 1,
                "values": [found[t].p50_ms if t in found else None for t in times],
            },
            {
                "label": "99th percentile",
                "colour": 4,
                "values": [found[t].p99_ms if t in found else None for t in times],
            },
        ],
        "min": 0,
    }


def _by_time(steps: list[UsageItem]) -> dict[int, UsageItem]:
    return {
        int(datetime.fromisoformat(one.time).timestamp()): one
        for one in steps
        if one.time is not None
    }


def days_until(now_ms: int, count: int) -> list[int]:
    """UNIX seconds at which the last days begin (UTC), today included."""
    today = now_ms // 86_400_000 * 86_400
    return [today - 86_400 * back for back in reversed(range(count))]
