"""``GET /usage/latency``: how many requests took how long, by time. Pure."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from control import histogram
from control.usage_report import Group, Sums, UsageQuery
from control.usage_tiers import DAY, HOUR, MINUTE, STEPS, floor
from protocol.errors import Code, TollwayError
from registry.clock import rfc3339

EDGES_MS: Final = (
    *(round(part * 10.0**power, 6) for power in range(-1, 4) for part in (1, 1.5, 2, 3, 5, 7)),
    10_000.0,
)
"""Upper ends of the buckets: six to a decade, from 0.1 ms to 10 s."""
WIDTHS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080, 40_320)
"""Minutes that a column can stand for."""
DEFAULT_COLUMNS: Final = 120
MAX_COLUMNS: Final = 500
_MINUTE_MS: Final = 60_000
_QUEUE, _INFER = 3, 4


class LatencyColumn(BaseModel):
    """A span of time: requests that began in it, and how long they took in the gateway."""

    model_config = ConfigDict(frozen=True)

    time: str
    requests: int
    errors: int
    rows: int
    p50_ms: float | None
    p99_ms: float | None
    queue_ms: float
    """Time in the queues of engines, of all requests together."""
    compute_ms: float
    """Time in runs of the graph, of all requests together."""
    counts: list[int]
    """Requests by how long they took: one for each of `edges_ms`, and one beyond the last."""


class LatencyReport(BaseModel):
    """Requests by time and latency. Every column of the span is there, also where nothing came."""

    model_config = ConfigDict(frozen=True)

    edges_ms: list[float]
    """Upper ends of the buckets. A request is in the first bucket that its latency fits into, as
    exactly as usage is kept (1.6 %)."""
    minutes: int
    """Minutes in a column."""
    items: list[LatencyColumn]


class Span(NamedTuple):
    """How a range is cut into columns."""

    start: int
    end: int
    width: int
    """Minutes in a column."""


def cut(start: int, end: int, columns: int, grain: int) -> Span:
    """Columns for the minutes ``start`` up to ``end``: at most ``columns`` where the widest does,
    none narrower than the ``grain`` that is kept. Raises ``INVALID`` for a range of ages."""
    wanted = max(end - start, 1)
    if wanted > WIDTHS[-1] * max(columns - 1, 1):
        raise TollwayError(
            Code.INVALID, "query.from: the range is too long for so few columns: ask for less"
        )
    width = next(
        (
            width
            for width in WIDTHS
            if width >= grain and -(-wanted // width) + 1 <= max(columns, 2)
        ),
        WIDTHS[-1],
    )
    return Span(floor(start, width), end, width)


def reading(query: UsageQuery, span: Span) -> UsageQuery:
    """The report to read for the columns: in the longest steps that fit into one."""
    step = next(step for step in (DAY, HOUR, MINUTE) if span.width % step == 0)
    return query._replace(start=span.start, end=span.end, by=(), step=STEPS[step])


def report(span: Span, groups: Iterable[tuple[Group, Sums]]) -> LatencyReport:
    """The columns of what was read."""
    sums: dict[int, Sums] = {}
    for (time, _), found in groups:
        at = floor(time, span.width)
        earlier = sums.setdefault(at, found)
        if earlier is not found:
            earlier.add(found)
    items = [_column(at, sums.get(at)) for at in range(span.start, max(span.end, 1), span.width)]
    return LatencyReport(edges_ms=list(EDGES_MS), minutes=span.width, items=items)


def _column(at: int, sums: Sums | None) -> LatencyColumn:
    counts = [0] * (len(EDGES_MS) + 1)
    time = rfc3339(at * _MINUTE_MS)
    if sums is None:
        return LatencyColumn(
            time=time, requests=0, errors=0, rows=0, p50_ms=None, p99_ms=None, queue_ms=0,
            compute_ms=0, counts=counts,
        )  # fmt: skip
    merged = histogram.decode(b"".join(sums.latency))
    for index, count in merged.items():
        low, high = histogram.bounds(index)
        counts[bisect_left(EDGES_MS, (low + high) / 2000)] += count
    requests, rows, errors = sums.figures[:3]
    return LatencyColumn(
        time=time,
        requests=requests,
        errors=errors,
        rows=rows,
        p50_ms=_milliseconds(histogram.quantile(merged, 0.5)),
        p99_ms=_milliseconds(histogram.quantile(merged, 0.99)),
        queue_ms=round(sums.figures[_QUEUE] / 1000, 3),
        compute_ms=round(sums.figures[_INFER] / 1000, 3),
        counts=counts,
    )


def _milliseconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else round(microseconds / 1000, 4)
