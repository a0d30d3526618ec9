"""The catalogue as the management API lists it, and how fast its models answer."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from control.reach import EVERYTHING
from control.resources import Page, Resource
from control.store.usage_reading import PAGE_ITEMS, UsageReports
from control.usage_report import parse_query
from control.usage_resources import UsageItem
from control.usage_tiers import Step
from protocol.configuration import VersionState
from protocol.manifest import Task
from registry.clock import Clock, rfc3339
from registry.status import ServingState

LATENCY_DAYS: Final = 7
FRESH_MS: Final = 60_000
SERIES_FRESH_MS: Final = 5_000
MAX_SERIES: Final = 500
"""Series that are kept for who asks again at once."""
Span = Literal["hour", "day", "month"]
_SPANS: Final[dict[Span, tuple[timedelta, Step]]] = {
    "hour": (timedelta(hours=1), "minute"),
    "day": (timedelta(days=1), "hour"),
    "month": (timedelta(days=30), "day"),
}


class Quality(Resource):
    """The main metric of the version's newest evaluation."""

    metric: str
    value: float
    rows_name: str
    """The evaluation's name for the rows that it was made on."""
    rows: int


class Latency(Resource):
    """How fast answers were in the last days, at the gateways."""

    requests: int
    errors: int
    """Answers of status 400 and above."""
    p50_ms: float | None
    p99_ms: float | None


class CatalogueEntry(Resource):
    """A model that may be called, by the version that a call without one gets."""

    name: str
    title: str
    description: str
    owner: str | None
    """The owner's title. Null where they have none: names, which let in, are not shown."""
    updated_at: str
    task: Task
    predicts: list[str]
    """A classifier's labels, at most 12 of them; else the names of the outputs."""
    columns: int
    """Input columns; of a model that has none, its input tensors."""
    explains: bool
    """Whether it says what each column contributed to an answer."""
    version: int
    versions: int
    """How many may be called."""
    state: VersionState
    sunset: str | None
    """When a deprecated version may go out of service."""
    quality: Quality | None
    serving: ServingState = "none"
    latency: Latency | None = None
    """Null: nobody has called it in the last 7 days."""


class Choice(Resource):
    """A value that one may filter by, and how many models it would leave."""

    value: str
    models: int


class Choices(Resource):
    """What one may filter by: counted among the models that the other filters leave."""

    task: list[Choice]
    state: list[Choice]
    owner: list[Choice]
    """At most 50, those with the most models."""


class CataloguePage(Page[CatalogueEntry]):
    """A page of the catalogue."""

    total: int
    """How many models there are on all pages."""
    choices: Choices


class LatencyPoint(Resource):
    """A step of a model's latency."""

    time: str
    requests: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None


class LatencySeries(Resource):
    """How fast a model answered, by step; a step without a call is not there."""

    step: Step
    start: str
    end: str
    points: list[LatencyPoint]


class Latencies:
    """How fast models answered: read at most once a minute for all of them, and every few seconds
    for one, for it is the same for everybody. Thread-safe; calls may block."""

    def __init__(self, reports: UsageReports, clock: Clock) -> None:
        self._reports = reports
        self._clock = clock
        self._lock = threading.Lock()
        self._read_ms = 0
        self._found: dict[str, Latency] = {}
        self._series: dict[tuple[str, Span], tuple[int, LatencySeries]] = {}

    def all(self) -> Mapping[str, Latency]:
        """Model -> latency in the last days; one that was not called is not there."""
        now = self._clock()
        with self._lock:
            if self._read_ms and 0 <= now - self._read_ms < FRESH_MS:
                return self._found
            # From midnight on: whole days are summed up already.
            end = datetime.fromtimestamp(now / 1000, UTC)
            today = end.replace(hour=0, minute=0, second=0, microsecond=0)
            start = today - timedelta(days=LATENCY_DAYS - 1)
            query = parse_query(start, end, "model", None, now, {}, "")
            page = self._reports.page(EVERYTHING, query, PAGE_ITEMS)
            self._found = {
                item.model: Latency(
                    requests=item.requests,
                    errors=item.errors,
                    p50_ms=item.p50_ms,
                    p99_ms=item.p99_ms,
                )
                for item in page.items
                if item.model is not None
            }
            self._read_ms = now
            return self._found

    def series(self, model: str, span: Span) -> LatencySeries:
        """By minute over the last hour, by hour over the last day, or by day over the last 30."""
        now = self._clock()
        with self._lock:
            kept = self._series.get((model, span))
            if kept is not None and 0 <= now - kept[0] < SERIES_FRESH_MS:
                return kept[1]
        length, step = _SPANS[span]
        end = datetime.fromtimestamp(now / 1000, UTC)
        query = parse_query(end - length, end, "", step, now, {"model": model}, "")
        page = self._reports.page(EVERYTHING, query, PAGE_ITEMS)
        found = LatencySeries(
            step=step,
            start=rfc3339(now - round(length.total_seconds() * 1000)),
            end=rfc3339(now),
            points=[_point(item) for item in page.items],
        )
        with self._lock:
            if len(self._series) >= MAX_SERIES:
                self._series.clear()
            self._series[model, span] = (now, found)
        return found


def _point(item: UsageItem) -> LatencyPoint:
    assert item.time is not None
    return LatencyPoint(
        time=item.time,
        requests=item.requests,
        errors=item.errors,
        p50_ms=item.p50_ms,
        p99_ms=item.p99_ms,
    )
