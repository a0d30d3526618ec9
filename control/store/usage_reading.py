"""Reports over the roll-ups: sums are added up by the database, histograms for each group."""

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.latency_report import LatencyReport, cut, reading, report
from control.reach import Reach
from control.store.reach import narrowed
from control.store.usage_rollups import read_marks
from control.store.usage_sources import Source, by_code, sources_of, to_marks
from control.usage_report import FIGURES, Group, Sums, UsageQuery, continued, cursor, items
from control.usage_resources import UsageItem, UsagePage
from control.usage_tiers import (
    DAY,
    HOUR,
    MINUTE,
    STEPS,
    Dimension,
    Marks,
    Segment,
    ceiling,
    floor,
    segments,
)
from registry.store.database import Database

_GROWTH: Final = 8
"""How many times as long as the piece before the next may be."""
_LONGEST_ASKED: Final = 3
"""Spans with anything in them that are asked for where a page ends."""
_SPANS_ASKED: Final = 16
"""The empty ones with them: of what began lately the longest spans hold nothing."""
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

    def latency(self, reach: Reach, query: UsageQuery, columns: int) -> LatencyReport:
        """Requests by time and latency, in at most so many columns."""
        with self._database.read() as connection:
            marks = to_marks(read_marks(connection))
            span = cut(query.start, query.end, columns, marks.grain_at(query.start))
            read = reading(query, span)
            steps = -(-(read.end - read.start) // read.step_minutes) + 1
            return report(span, _groups(connection, self._database, reach, read, marks, steps))

    def items(self, reach: Reach, query: UsageQuery) -> Iterator[UsageItem]:
        """The whole report. Read page by page: a slow reader holds no transaction open."""
        more: UsageQuery | None = query
        while more is not None:
            page = self.page(reach, more, PAGE_ITEMS)
            yield from page.items
            more = continued(query, page.next) if page.next is not None else None


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
    reach = narrowed(connection, reach, query.only)
    if query.step is not None and query.after is not None:
        start = max(start, query.after[0])
    steps, given = _first_steps(query, wanted), 0
    while start < query.end:
        if query.step is not None:
            start = _next_used(connection, reach, query, marks, start)
        end = query.end
        if query.step is not None:
            end = min(_piece_end(start, steps, query.step_minutes, marks), end)
        groups: dict[Group, Sums] = {}
        sources = sources_of(reach, query, segments(start, end, query.step_minutes, marks), marks)
        between = _Between(None, None)
        if query.by and _is_one_step(query, start, end):
            between = _page_in_step(connection, query, sources, wanted - given, start)
        for source in sources:
            for group, sums in _read(connection, database, query, source, between):
                earlier = groups.setdefault(group, sums)
                if earlier is not sums:
                    earlier.add(sums)
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
    Without steps a report is read in one piece."""
    # Marks are at the beginning of days: a longer span lies across none of these ends.
    return ceiling(floor(start, step) + steps * step, max(step, marks.grain_at(start)))


def _is_one_step(query: UsageQuery, start: int, end: int) -> bool:
    step = query.step_minutes
    return not step or end - floor(start, step) <= step


def _next_used(
    connection: Connection, reach: Reach, query: UsageQuery, marks: Marks, start: int
) -> int:
    """``start``, or the beginning of the first day behind it that has anything for the report, or,
    of what is not folded yet, the first minute; the report's end where none has.

    One on what is rare, of somebody who is quiet, or with an end that is far, does not read through
    the time between.
    """
    folded = floor(marks.folded, DAY)
    for part in (
        Segment(DAY, floor(start, DAY), min(folded, query.end), True),
        Segment(MINUTE, max(start, folded), query.end, False),
    ):
        if part.start >= part.end:
            continue
        [source] = sources_of(reach, query._replace(by=()), [part], marks)
        minute = source.table.c.minute
        found = connection.execute(
            sa.select(minute).where(source.condition()).order_by(minute).limit(1)
        ).scalar()
        if found is not None:
            return max(start, min(int(found), query.end))
    return query.end


class _Between(NamedTuple):
    """Dimensions of groups in one step, or without steps, where they alone are the order."""

    after: tuple[str | int, ...] | None
    last: tuple[str | int, ...] | None

    def condition(
        self, connection: Connection, table: sa.Table, by: tuple[Dimension, ...]
    ) -> sa.ColumnElement[bool]:
        """Whether a row is of a group behind ``after``, and not behind ``last``."""
        conditions = []
        if self.after is not None:
            conditions.append(_place(connection, table, by) > _literals(self.after))
        if self.last is not None:
            conditions.append(_place(connection, table, by) <= _literals(self.last))
        return sa.and_(sa.true(), *conditions)


def _page_in_step(
    connection: Connection, query: UsageQuery, sources: list[Source], wanted: int, start: int
) -> _Between:
    """Which groups to read of one step: those behind the page before, up to one that this page ends
    at, or before.

    A few of the longest spans tell, in the order of their key: the report has their groups, and may
    have others between them. Where they have no page of groups, all are read.
    """
    step = query.step_minutes
    after = None
    if query.after is not None and (not step or query.after[0] == floor(start, step)):
        after = query.after[1]
    behind = _Between(after, None)
    longest = sorted(sources, key=lambda source: source.part.grain, reverse=True)
    spans = ((source, minute) for source in longest for minute in reversed(source.spans()))
    found: set[tuple[str | int, ...]] = set()
    told = 0
    for source, minute in islice(spans, _SPANS_ASKED):
        place = [by_code(connection.dialect, source.table.c[name]) for name in query.by]
        of_span = sa.and_(source.rows, source.table.c.minute == minute)
        rows = connection.execute(
            sa.select(*place)
            .where(of_span, behind.condition(connection, source.table, query.by))
            .distinct()
            .order_by(*place)
            .limit(wanted + 1)
        ).all()
        found.update(tuple(row) for row in rows)
        if len(found) > wanted:
            return _Between(after, sorted(found)[wanted])
        told += bool(rows)
        if told == _LONGEST_ASKED:
            break
    return behind


def _place(connection: Connection, table: sa.Table, by: tuple[Dimension, ...]) -> sa.Tuple:
    return sa.tuple_(*(by_code(connection.dialect, table.c[name]) for name in by))


def _literals(values: tuple[str | int, ...]) -> sa.Tuple:
    return sa.tuple_(*map(sa.literal, values))


def _read(
    connection: Connection,
    database: Database,
    query: UsageQuery,
    source: Source,
    between: _Between,
) -> Iterator[tuple[Group, Sums]]:
    """The groups of a source."""
    table = source.table
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
        .where(source.condition(), between.condition(connection, table, query.by))
        .group_by(*([time] if step else []), *dimensions)
    ).all()
    width = 1 + len(dimensions)
    for row in rows:
        if row[width] is None:  # the sum over no rows at all
            continue
        latency = bytes.fromhex(row[-1]) if database.is_sqlite else bytes(row[-1])
        # PostgreSQL sums big integers to decimals.
        sums = Sums([int(value) for value in row[width:-1]], [latency])
        yield (int(row[0]), tuple(row[1:width])), sums


def _joined(latency: sa.ColumnElement[bytes], *, is_sqlite: bool) -> sa.ColumnElement[bytes]:
    """Histograms one behind the other. SQLite joins text only."""
    if is_sqlite:
        return sa.func.group_concat(sa.func.hex(latency), "")
    return sa.func.string_agg(latency, sa.cast(sa.literal(b""), sa.LargeBinary))
