"""``GET /usage``: what was asked for, and the sums and quantiles that answer it. Pure."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, NamedTuple, get_args

import msgspec

from control import histogram
from control.usage import MAX_MINUTE
from control.usage_resources import UsageItem
from control.usage_tiers import STEP_MINUTES, Dimension, Step
from protocol.errors import Code, TollwayError
from registry.clock import rfc3339

DIMENSIONS: Final[tuple[Dimension, ...]] = get_args(Dimension)
MINUTE_MS: Final = 60_000
DEFAULT_SPAN_MINUTES: Final = 1440
END_MINUTE: Final = MAX_MINUTE + 1
"""Behind the last minute that usage can be of."""
_SHARES: Final = (0.5, 0.99)

Group = tuple[int, tuple[str | int, ...]]
"""Minute at which an item's step begins (0 without steps), and its dimensions."""


class UsageQuery(NamedTuple):
    """A report: minutes ``start`` up to, not including, ``end``, summed by dimensions and step, of
    what ``only`` lets pass."""

    start: int
    end: int
    by: tuple[Dimension, ...]
    step: Step | None
    only: Mapping[Dimension, str | int]
    after: Group | None = None
    """The last item of the page before."""

    @property
    def step_minutes(self) -> int:
        """Minutes in a step; 0 without steps."""
        return STEP_MINUTES[self.step] if self.step is not None else 0


FIGURES: Final = (
    "requests",
    "rows",
    "errors",
    "queue_us",
    "infer_us",
    "bytes_in",
    "bytes_out",
)
"""What is summed for a report."""


class Sums(NamedTuple):
    """What a group adds up to."""

    figures: list[int]
    """In the order of :data:`FIGURES`."""
    latency: list[bytes]
    """Stored histograms."""

    def add(self, other: "Sums") -> None:
        """Add what ``other`` adds up to."""
        for index, value in enumerate(other.figures):
            self.figures[index] += value
        self.latency.extend(other.latency)


_Name = Annotated[str, msgspec.Meta(pattern="^[^\\x00]*$")]
_Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
"""What a database takes, so that no page that was made up reaches it."""


class _Cursor(msgspec.Struct, array_like=True, frozen=True):
    start: int
    end: int
    time: int
    dimensions: tuple[_Name | _Number, ...]


_decoder = msgspec.msgpack.Decoder(_Cursor)


def parse_query(
    start: datetime | None,
    end: datetime | None,
    by: str,
    step: Step | None,
    now_ms: int,
    only: Mapping[Dimension, str | int | None] | None = None,
    after: str = "",
) -> UsageQuery:
    """The report that the parameters ask for; without a span, the last 24 hours.

    Both ends are widened to whole minutes, the grain of the roll-ups. ``after`` carries the span of
    the first page, so that all pages are of one report.
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
    filters = {name: value for name, value in (only or {}).items() if value is not None}
    first, last = (min(max(minute, 0), END_MINUTE) for minute in (first, last))
    query = UsageQuery(first, last, chosen, step, filters)
    return query if not after else continued(query, after)


def cursor(query: UsageQuery, last: Group) -> str:
    """The ``next`` of a page that ends with ``last``."""
    data = msgspec.msgpack.encode(_Cursor(query.start, query.end, *last))
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def continued(query: UsageQuery, after: str) -> UsageQuery:
    """The query for the page behind ``after``; ``INVALID`` when that is of another report."""
    try:
        data = base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True)
        found = _decoder.decode(data)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise _not_a_cursor() from error
    kinds = [int if name in {"version", "status"} else str for name in query.by]
    if [type(value) for value in found.dimensions] != kinds or not (
        0 <= found.start <= found.end <= END_MINUTE and 0 <= found.time <= found.end
    ):
        raise _not_a_cursor()
    return query._replace(start=found.start, end=found.end, after=(found.time, found.dimensions))


def _not_a_cursor() -> TollwayError:
    return TollwayError(Code.INVALID, "query.after: is not the 'next' of a page of this report")


def items(query: UsageQuery, groups: Sequence[tuple[Group, Sums]]) -> list[UsageItem]:
    """The items of a page.

    ``p50_ms`` and ``p99_ms`` are quantiles of the total latency in the gateway, as exact as
    ``control.histogram`` says; ``compute_ms`` is the time spent in runs of the graph.
    """
    found = histogram.quantiles([b"".join(sums.latency) for _, sums in groups], _SHARES)
    return [
        _item(query, group, sums, median, tail)
        for (group, sums), (median, tail) in zip(groups, found, strict=True)
    ]


def _item(
    query: UsageQuery, group: Group, sums: Sums, median: float | None, tail: float | None
) -> UsageItem:
    time, dimensions = group
    values: dict[str, object] = {} if query.step is None else {"time": rfc3339(time * MINUTE_MS)}
    values.update(zip(query.by, dimensions, strict=True))
    requests, rows, errors, queue_us, infer_us, bytes_in, bytes_out = sums.figures
    values.update(
        requests=requests,
        rows=rows,
        errors=errors,
        p50_ms=_milliseconds(median),
        p99_ms=_milliseconds(tail),
        compute_ms=round(infer_us / 1000, 3),
        queue_ms=round(queue_us / 1000, 3),
        bytes_in=bytes_in,
        bytes_out=bytes_out,
    )
    return UsageItem.model_validate(values)


def _milliseconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else round(microseconds / 1000, 4)
