"""Reports over the roll-ups: sums are added up by the database, histograms for each group."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.reach import Reach
from control.store.reach import is_restricted, reaches
from control.store.usage_rollups import FOLDED, TIERS, read_marks
from control.store.usage_tables import usage_blocks, usage_summaries
from control.usage import MAX_MINUTE
from control.usage_report import FIGURES, Group, Sums, UsageQuery, continued, cursor, items
from control.usage_resources import UsageItem, UsagePage
from control.usage_tiers import (
    BLOCKS,
    DAY,
    HOUR,
    STEPS,
    Dimension,
    Marks,
    Segment,
    ceiling,
    cube_for,
    floor,
    in_blocks,
    segments,
)
from registry.store.database import Database

_GROWTH: Final = 8
"""How many times as long as the piece before the next may be."""
PAGE_ITEMS: Final = 10_000
"""The most that a page has; read at once where the whole report is wanted."""


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
    steps, given = _first_steps(query, wanted), 0
    while start < query.end:
        if query.step is not None:
            start = _next_used(connection, reach, query, marks, start)
        end = min(_piece_end(start, steps, query.step_minutes, marks), query.end)
        groups: dict[Group, Sums] = {}
        sources = _sources(reach, query, segments(start, end, query.step_minutes, marks), marks)
        last = None if query.step else _last(connection, query, sources, wanted)
        for source in sources:
            for group, sums in _read(connection, database, query, source, last):
                earlier = groups.get(group)
                groups[group] = sums if earlier is None else earlier.plus(sums)
        for group in sorted(groups):
            if query.after is None or group > query.after:
                given += 1
                yield group, groups[group]
        start = end
        steps = _following_steps(steps, query.step_minutes, len(groups), wanted + 1 - given)


def _first_steps(query: UsageQuery, wanted: int) -> int:
    """Steps in the first piece: as many as fill a page where each has one item at most."""
    return 1 if query.by else wanted + 1


def _following_steps(steps: int, step: int, found: int, missing: int) -> int:
    """Steps that hold what a page still misses, when they are like those before.

    Quiet ones say nothing of what follows: behind them pieces grow to an hour only.
    """
    if not found:
        return max(steps, min(steps * _GROWTH, HOUR // step if step else 1))
    return min(-(-missing * steps // found), steps * _GROWTH)


def _piece_end(start: int, steps: int, step: int, marks: Marks) -> int:
    """Where a piece of that many steps ends: where a step does, and with the spans that are kept.

    Without steps the report is read in one piece.
    """
    if not step:
        return MAX_MINUTE + DAY
    # Marks are at the beginning of days: a longer span lies across none of these ends.
    return ceiling(start + steps * step, max(step, marks.grain_at(start)))


def _next_used(
    connection: Connection, reach: Reach, query: UsageQuery, marks: Marks, start: int
) -> int:
    """``start``, or the beginning of the first day behind it that has anything for the report.

    One on what is rare, or of somebody who is quiet, does not read through the days between.
    """
    low, high = floor(start, DAY), min(floor(marks.folded, DAY), query.end)
    if low >= high:
        return start
    [source] = _sources(reach, query._replace(by=()), [Segment(DAY, low, high, True)], marks)
    minute = source.table.c.minute
    found = connection.execute(
        sa.select(minute).where(source.condition).order_by(minute).limit(1)
    ).scalar()
    return max(start, min(int(high if found is None else found), query.end))


class _Source(NamedTuple):
    table: sa.Table
    condition: sa.ColumnElement[bool]


def _sources(reach: Reach, query: UsageQuery, parts: list[Segment], marks: Marks) -> list[_Source]:
    """Where the roll-ups of ``parts`` are, and which of them."""
    needed: set[Dimension] = {*query.by, *query.only}
    if is_restricted(reach):
        needed |= {"application", "model"}
    if query.step is None:
        parts = in_blocks(parts, marks)
    return [_source(reach, query, needed, part) for part in parts]


def _source(reach: Reach, query: UsageQuery, needed: set[Dimension], part: Segment) -> _Source:
    cube = cube_for(needed, part.grain) if part.folded else None
    if cube is not None:
        table = usage_summaries
        conditions = [table.c.cube == cube.name, table.c.grain == part.grain]
    elif part.grain in BLOCKS:
        table = usage_blocks
        conditions = [table.c.grain == part.grain]
    else:
        table = TIERS[part.grain]
        conditions = []
    conditions += [table.c.minute >= part.start, table.c.minute < part.end]
    conditions += [table.c[name] == value for name, value in query.only.items()]
    if is_restricted(reach):
        conditions.append(reaches(reach, table.c.application, table.c.model))
    return _Source(table, sa.and_(*conditions))


def _last(
    connection: Connection, query: UsageQuery, sources: list[_Source], wanted: int
) -> tuple[str | int, ...] | None:
    """The dimensions of the last group that a page of a report without steps needs; None: of all.

    Finding groups is cheap beside joining their histograms, which only a page's own are read for.
    """
    if not query.by:
        return None
    found: set[tuple[str | int, ...]] = set()
    for source in sources:
        place = [source.table.c[name] for name in query.by]
        rows = connection.execute(
            sa.select(*place)
            .where(source.condition, _beyond(connection, source.table, query))
            .group_by(*place)
            .order_by(*(_by_code(connection, column) for column in place))
            .limit(wanted + 1)
        )
        found.update(tuple(row) for row in rows)
    return sorted(found)[wanted] if len(found) > wanted else None


def _beyond(
    connection: Connection,
    table: sa.Table,
    query: UsageQuery,
    last: tuple[str | int, ...] | None = None,
) -> sa.ColumnElement[bool]:
    """Whether a row is of a group behind the page before, and not behind ``last``. Only where the
    dimensions alone are the order: in reports without steps."""
    place = sa.tuple_(*(_by_code(connection, table.c[name]) for name in query.by))
    conditions = []
    if query.step is None and query.by and query.after is not None:
        conditions.append(place > _literals(query.after[1]))
    if last is not None:
        conditions.append(place <= _literals(last))
    return sa.and_(sa.true(), *conditions)


def _by_code(connection: Connection, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The column in the order that Python sorts by, whatever the database's language is."""
    if not isinstance(column.type, sa.String):
        return column
    return column.collate("BINARY" if connection.dialect.name == "sqlite" else "C")


def _literals(values: tuple[str | int, ...]) -> sa.Tuple:
    return sa.tuple_(*map(sa.literal, values))


def _read(
    connection: Connection,
    database: Database,
    query: UsageQuery,
    source: _Source,
    last: tuple[str | int, ...] | None,
) -> Iterator[tuple[Group, Sums]]:
    """The groups of a source, up to the one of the dimensions ``last``."""
    table, condition = source
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
        .where(condition, _beyond(connection, table, query, last))
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
