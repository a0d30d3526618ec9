"""Reports over the roll-ups: sums are added up by the database, histograms for each group."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.reach import Reach
from control.store.reach import is_restricted, reaches
from control.store.usage_rollups import FOLDED, TIERS, read_marks
from control.store.usage_tables import usage_summaries
from control.usage_report import FIGURES, Group, Sums, UsageQuery, continued, cursor, items
from control.usage_resources import UsageItem, UsagePage
from control.usage_tiers import (
    DAY,
    HOUR,
    STEPS,
    Dimension,
    Marks,
    Segment,
    ceiling,
    cube_for,
    segments,
)
from registry.store.database import Database

FIRST_STEPS: Final = 16
"""Steps in the first piece of a report; the following ones grow until a page is full."""
_GROWTH: Final = 4
PAGE_ITEMS: Final = 10_000
"""Items that are read at once where the whole report is wanted."""


class UsageReports:
    """Reads usage as far as it is within reach. Thread-safe; calls block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, reach: Reach, query: UsageQuery, limit: int) -> UsagePage:
        """One page of the report, by time, then by dimensions.

        It costs what the page holds, not what the range holds, where the report has steps.
        """
        found: list[tuple[Group, Sums]] = []
        with self._database.read() as connection:
            marks = to_marks(read_marks(connection))
            for group in _groups(connection, self._database, reach, query, marks, limit):
                found.append(group)
                if len(found) > limit:
                    break
        following = cursor(query, found[limit - 1][0]) if len(found) > limit else None
        step = query.step_minutes
        return UsagePage(
            items=items(query, found[:limit]),
            next=following,
            resolution=STEPS[max(step or 1, marks.grain_at(query.start))],
        )

    def items(self, reach: Reach, query: UsageQuery) -> Iterator[UsageItem]:
        """The whole report. Read page by page: a slow reader holds no transaction open."""
        more: UsageQuery | None = query
        while more is not None:
            page = self.page(reach, more, PAGE_ITEMS)
            yield from page.items
            more = continued(query, page.next) if page.next is not None else None


def to_marks(marks: Mapping[str, int]) -> Marks:
    """The marks of the tiers."""
    return Marks(marks.get(FOLDED, 0), *(marks.get(name, 0) for name in Marks._fields[1:]))


def _groups(
    connection: Connection,
    database: Database,
    reach: Reach,
    query: UsageQuery,
    marks: Marks,
    wanted: int,
) -> Iterator[tuple[Group, Sums]]:
    """The groups behind ``query.after`` in their order."""
    start = query.start
    if query.step is not None and query.after is not None:
        start = max(start, query.after[0])
    for first, end in _pieces(start, query.end, query.step_minutes, marks, wanted):
        groups: dict[Group, Sums] = {}
        for segment in segments(first, end, query.step_minutes, marks):
            for group, sums in _read(connection, database, reach, query, segment):
                earlier = groups.get(group)
                groups[group] = sums if earlier is None else earlier.plus(sums)
        for group in sorted(groups):
            if query.after is None or group > query.after:
                yield group, groups[group]


def _pieces(
    start: int, end: int, step: int, marks: Marks, wanted: int
) -> Iterator[tuple[int, int]]:
    """The range in pieces, each ending where a step does: a page is read no further than needed."""
    if not step:
        yield start, end
        return
    steps = min(FIRST_STEPS, wanted)
    while start < end:
        after = ceiling(start + steps * step, step)
        if step >= HOUR or after <= marks.minutes:
            after = ceiling(after, DAY)  # no longer span lies across a day's end
        yield start, min(after, end)
        start = after
        steps *= _GROWTH


class _Source(NamedTuple):
    table: sa.Table
    condition: sa.ColumnElement[bool]


def _read(
    connection: Connection,
    database: Database,
    reach: Reach,
    query: UsageQuery,
    segment: Segment,
) -> Iterator[tuple[Group, Sums]]:
    table, condition = _source(reach, query, segment)
    step = query.step_minutes
    # Whole numbers on both sides: this is a whole number, too.
    time = table.c.minute // step * step if step else sa.literal(0)
    dimensions = [table.c[name] for name in query.by]
    rows = connection.execute(
        sa.select(
            time,
            *dimensions,
            *(sa.func.sum(table.c[name]) for name in FIGURES),
            _joined(table.c.latency, is_sqlite=database.is_sqlite),
        )
        .where(table.c.minute >= segment.start, table.c.minute < segment.end, condition)
        .group_by(*([time] if step else []), *dimensions)
    )
    width = 1 + len(dimensions)
    for row in rows:
        if row[width] is None:  # the sum over no rows at all
            continue
        latency = bytes.fromhex(row[-1]) if database.is_sqlite else bytes(row[-1])
        # PostgreSQL sums big integers to decimals.
        sums = Sums([int(value) for value in row[width:-1]], latency)
        yield (int(row[0]), tuple(row[1:width])), sums


def _joined(latency: sa.ColumnElement[bytes], *, is_sqlite: bool) -> sa.ColumnElement[bytes]:
    """Histograms one behind the other. SQLite joins text only."""
    if is_sqlite:
        return sa.func.group_concat(sa.func.hex(latency), "")
    return sa.func.string_agg(latency, sa.cast(sa.literal(b""), sa.LargeBinary))


def _source(reach: Reach, query: UsageQuery, segment: Segment) -> _Source:
    restricted = is_restricted(reach)
    needed: set[Dimension] = {*query.by, *query.only}
    if restricted:
        needed |= {"application", "model"}
    cube = cube_for(needed, segment.grain) if segment.folded else None
    table = TIERS[segment.grain]
    conditions = []
    if cube is not None:
        table = usage_summaries
        conditions = [table.c.cube == cube.name, table.c.grain == segment.grain]
    conditions += [table.c[name] == value for name, value in query.only.items()]
    if restricted:
        conditions.append(reaches(reach, table.c.application, table.c.model))
    return _Source(table, sa.and_(sa.true(), *conditions))
