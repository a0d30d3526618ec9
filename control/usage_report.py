"""``GET /usage``: what was asked for, and the sums and quantiles that answer it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, get_args

from control import histogram
from control.histogram import Histogram
from protocol.errors import Code, TollwayError
from registry.clock import rfc3339

Dimension = Literal["application", "model", "version", "variant", "status"]
Step = Literal["minute", "hour", "day"]
DIMENSIONS: Final[tuple[Dimension, ...]] = get_args(Dimension)
STEP_MINUTES: Final[dict[Step, int]] = {"minute": 1, "hour": 60, "day": 1440}
MINUTE_MS: Final = 60_000
DEFAULT_SPAN_MINUTES: Final = 1440
_MEDIAN, _TAIL = 0.5, 0.99


class UsageQuery(NamedTuple):
    """A report: minutes ``start`` up to, not including, ``end``, summed by dimensions and step."""

    start: int
    end: int
    by: tuple[Dimension, ...]
    step: Step | None


class UsageRow(NamedTuple):
    """A roll-up that goes into a report."""

    minute: int
    dimensions: tuple[str | int, ...]
    requests: int
    rows: int
    errors: int
    infer_us: int
    latency: bytes


def parse_query(
    start: datetime | None, end: datetime | None, by: str, step: Step | None, now_ms: int
) -> UsageQuery:
    """The report that the parameters ask for; without a span, the last 24 hours.

    Both ends are widened to whole minutes, the grain of the roll-ups.
    """
    end_ms = now_ms if end is None else round(end.timestamp() * 1000)
    last = -(-end_ms // MINUTE_MS)
    if end is None:
        last = now_ms // MINUTE_MS + 1  # the minute under way
    first = last - DEFAULT_SPAN_MINUTES
    if start is not None:
        first = round(start.timestamp() * 1000) // MINUTE_MS
    if first > last:
        raise TollwayError(Code.INVALID, "query.from: lies behind 'to'")
    names = [name for part in by.split(",") if (name := part.strip())]
    for name in names:
        if name not in DIMENSIONS:
            known = ", ".join(DIMENSIONS)
            raise TollwayError(
                Code.INVALID, f"query.by: {name[:80]!r} is not one of {known} (separated by commas)"
            )
    # One order whatever the request's, and nothing twice.
    chosen = tuple(one for one in DIMENSIONS if one in names)
    return UsageQuery(first, last, chosen, step)


class _Sums:
    __slots__ = ("errors", "infer_us", "latency", "requests", "rows")

    def __init__(self) -> None:
        self.requests = 0
        self.rows = 0
        self.errors = 0
        self.infer_us = 0
        self.latency: Histogram = {}


def report(query: UsageQuery, rows: Iterable[UsageRow]) -> list[Mapping[str, Any]]:
    """The report's items, ordered by time, then by dimensions.

    ``p50_ms`` and ``p99_ms`` are quantiles of the total latency in the gateway, as exact as
    ``control.histogram`` says; ``compute_ms`` is the time spent in runs of the graph.
    """
    minutes = STEP_MINUTES[query.step] if query.step is not None else 0
    groups: dict[tuple[int, tuple[str | int, ...]], _Sums] = {}
    for row in rows:
        start = row.minute // minutes * minutes if minutes else 0
        sums = groups.setdefault((start, row.dimensions), _Sums())
        sums.requests += row.requests
        sums.rows += row.rows
        sums.errors += row.errors
        sums.infer_us += row.infer_us
        histogram.merge(sums.latency, histogram.decode(row.latency))
    return [
        _item(query, start, dimensions, groups[start, dimensions])
        for start, dimensions in sorted(groups)
    ]


def _item(
    query: UsageQuery, start: int, dimensions: tuple[str | int, ...], sums: _Sums
) -> dict[str, Any]:
    item: dict[str, Any] = {}
    if query.step is not None:
        item["time"] = rfc3339(start * MINUTE_MS)
    item.update(zip(query.by, dimensions, strict=True))
    item.update(
        requests=sums.requests,
        rows=sums.rows,
        errors=sums.errors,
        p50_ms=_milliseconds(histogram.quantile(sums.latency, _MEDIAN)),
        p99_ms=_milliseconds(histogram.quantile(sums.latency, _TAIL)),
        compute_ms=round(sums.infer_us / 1000, 3),
    )
    return item


def _milliseconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else round(microseconds / 1000, 4)
