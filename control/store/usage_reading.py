"""Reports over the roll-ups: sums are added up by the database, histograms for each group."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.reach import Reach
from control.store.reach import is_restricted, reaches
from control.store.usage_rollups import FOLDED, TIERS, read_marks
from control.store.usage_tables import usage_blocks, usage_summaries
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
    in_blocks,
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
        parts = segments(first, end, query.step_minutes, marks)
        sources = _sources(reach, query, parts, marks)
        last = None if query.step else _last(connection, query, sources, wanted)
        for source in sources:
            for group, sums in _read(connection, database, query, source, last):
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
