"""Which roll-ups answer a report: the coarsest that cover its range exactly. Pure.

Usage is kept by minute, hour and day. Hours, days, blocks and summaries hold all minutes before the
mark ``folded``; a tier holds everything from its own mark on, where retention stopped. A range is
cut into days in the middle, quarters of days and hours beside them, and minutes at its ends; where
a finer tier is gone, its ends are widened to what is left. Days are joined in blocks where a report
has no steps.
"""

from collections.abc import Collection, Iterator
from typing import Final, Literal, NamedTuple

from control.usage import RollupKey

Dimension = Literal["application", "key", "model", "version", "variant", "status"]
Step = Literal["minute", "hour", "day"]
MINUTE: Final = 1
HOUR: Final = 60
DAY: Final = 1440
QUARTER: Final = 6 * HOUR
DAY_BLOCKS: Final = (7 * DAY, 28 * DAY, 112 * DAY)
"""Minutes in blocks of days, each a multiple of the one before. Any range has a few of each size,
so that a report over years costs little more than one over a month."""
BLOCKS: Final = (QUARTER, *DAY_BLOCKS)
"""Minutes in all blocks. Quarters of days stand for most of the hours beside whole days."""
STEP_MINUTES: Final[dict[Step, int]] = {"minute": MINUTE, "hour": HOUR, "day": DAY}
STEPS: Final[dict[int, Step]] = {minutes: step for step, minutes in STEP_MINUTES.items()}


class Cube(NamedTuple):
    """A summary over everybody: fewer dimensions, fewer rows."""

    name: str
    dimensions: tuple[Dimension, ...]
    grains: tuple[int, ...]
    """Minutes in the spans that it is kept for."""
    unfiltered: bool = False
    """Answers only reports over everybody: of one application, key or model the tiers of all
    dimensions read less, by their indexes."""


CUBES: Final = (
    Cube("total", ("variant", "status"), (MINUTE, HOUR, DAY, *BLOCKS)),
    Cube("application", ("application",), (HOUR, DAY, *BLOCKS)),
    Cube("model", ("model", "version", "variant", "status"), (HOUR, DAY, *BLOCKS)),
    Cube(
        "caller",
        ("application", "key", "model", "version", "variant"),
        (DAY, *BLOCKS),
        unfiltered=True,
    ),
)
"""From the smallest on: the first that has the dimensions asked for answers."""


class Marks(NamedTuple):
    """How far minutes are folded into coarser tiers, and from where on each tier is kept.

    Minutes of UNIX time. What a tier holds before its mark is being removed. ``minutes``, ``hours``
    and ``days`` are at the beginning of a UTC day that is folded whole."""

    folded: int = 0
    minutes: int = 0
    hours: int = 0
    days: int = 0

    def grain_at(self, minute: int) -> int:
        """Minutes in the shortest spans that are kept of that time."""
        return MINUTE if minute >= self.minutes else HOUR if minute >= self.hours else DAY


class Segment(NamedTuple):
    """Minutes ``start`` up to, not including, ``end``, in roll-ups of ``grain`` minutes."""

    grain: int
    start: int
    end: int
    folded: bool
    """Whether summaries hold it as well."""


def cube_for(
    dimensions: Collection[Dimension], grain: int, *, filtered: bool = False
) -> Cube | None:
    """The smallest summary by ``grain`` minutes that has all of ``dimensions``."""
    for cube in CUBES:
        if grain not in cube.grains or (filtered and cube.unfiltered):
            continue
        if set(dimensions) <= set(cube.dimensions):
            return cube
    return None


def project(key: RollupKey, cube: Cube) -> RollupKey:
    """The key with only what the summary tells apart."""
    return RollupKey(
        minute=key.minute,
        application=key.application if "application" in cube.dimensions else "",
        key=key.key if "key" in cube.dimensions else "",
        model=key.model if "model" in cube.dimensions else "",
        version=key.version if "version" in cube.dimensions else 0,
        variant=key.variant if "variant" in cube.dimensions else "",
        status=key.status if "status" in cube.dimensions else 0,
    )


def segments(start: int, end: int, step: int, marks: Marks) -> list[Segment]:
    """Roll-ups that hold the minutes ``start`` up to ``end`` once each, in their order.

    None is longer than ``step`` minutes (0: any) unless shorter ones are not kept any more; there
    the ends are widened to whole spans.
    """
    found: list[Segment] = []
    # Marks are at the beginning of days, so no span lies across one.
    zones = ((0, marks.hours), (marks.hours, marks.minutes), (marks.minutes, end))
    for first, after in zones:
        low, high = max(start, first), min(end, after)
        if low >= high:
            continue
        shortest = marks.grain_at(low)
        longest = max(step or DAY, shortest)
        kept = (DAY, QUARTER, HOUR, MINUTE)
        grains = [grain for grain in kept if shortest <= grain <= longest]
        found += _cover(floor(low, shortest), ceiling(high, shortest), grains, marks.folded)
    return found


def in_blocks(found: list[Segment], marks: Marks) -> list[Segment]:
    """The same minutes, with as many of the days as possible in blocks."""
    joined: list[Segment] = []
    for one in found:
        start = one.start
        if joined and _is_days(one) and _is_days(joined[-1]):
            start = joined.pop().start
        joined.append(one._replace(start=start))
    blocks: list[Segment] = []
    for one in joined:
        if not _is_days(one):
            blocks.append(one)
            continue
        # Of the time before the mark, blocks hold days that are removed already.
        edge = min(max(one.start, marks.days), one.end)
        if one.start < edge:
            blocks.append(Segment(DAY, one.start, edge, True))
        blocks += _cover(edge, one.end, [*reversed(DAY_BLOCKS), DAY], marks.folded)
    return blocks


def _is_days(segment: Segment) -> bool:
    return segment.grain == DAY and segment.folded


def _cover(start: int, end: int, grains: list[int], folded: int) -> Iterator[Segment]:
    """The coarsest grain in the middle, finer ones at the ends and behind what is folded."""
    if start >= end:
        return
    grain, *finer = grains
    if not finer:
        for low, high in ((start, min(end, folded)), (max(start, folded), end)):
            if low < high:
                yield Segment(grain, low, high, high <= folded)
        return
    low, high = ceiling(start, grain), floor(min(end, folded), grain)
    if low >= high:
        yield from _cover(start, end, finer, folded)
        return
    yield from _cover(start, low, finer, folded)
    yield Segment(grain, low, high, True)
    yield from _cover(high, end, finer, folded)


def floor(minute: int, grain: int) -> int:
    """The beginning of the span that ``minute`` is in."""
    return minute // grain * grain


def ceiling(minute: int, grain: int) -> int:
    """The first beginning of a span from ``minute`` on."""
    return -(-minute // grain) * grain
