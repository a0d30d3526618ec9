"""Folding minutes into hours, days and summaries, and removing what is kept no longer."""

from collections.abc import Callable
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control import histogram
from control.store.usage_rollups import FOLDED, SUMS, lock, read_marks, set_mark, spread
from control.store.usage_sources import to_marks
from control.store.usage_tables import (
    usage_blocks,
    usage_charges,
    usage_days,
    usage_hours,
    usage_minutes,
    usage_refusals,
    usage_statements,
    usage_summaries,
    usage_thresholds,
)
from control.usage import MINUTE_MS, Rollup, RollupKey
from control.usage_periods import DAY_MINUTES, day_start_ms
from control.usage_tiers import CUBES, DAY, DAY_BLOCKS, HOUR, MINUTE, QUARTER, Marks, floor
from registry.clock import Clock
from registry.store.database import Database

FOLD_MINUTES: Final = 10
"""Minutes that are folded in one transaction: the ingestion waits for no more."""
SETTLE_MINUTES: Final = 5
"""Age of minutes that are folded: what arrives later costs more, and is as exact."""
REMOVED_ROWS: Final = 2_000
"""Rows that are removed in one transaction, about."""


class Retention(NamedTuple):
    """Days for which each tier is kept. A coarser one is kept for at least as long."""

    minutes_days: int
    hours_days: int
    days_days: int


class UsageTiers:
    """Keeps the tiers. Thread-safe; calls block, each transaction for a bounded time."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        retention: Retention,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """``stopping()`` is asked between transactions: the rest is done another time."""
        self._database = database
        self._clock = clock
        self._retention = retention
        self._stopping = stopping

    def fold(self) -> int:
        """Fold every minute that has settled, each exactly once. Returns how many were folded."""
        target = floor(self._clock() // MINUTE_MS - SETTLE_MINUTES, FOLD_MINUTES)
        folded = 0
        more = True
        while more and not self._stopping():
            with self._database.write() as connection:
                lock(connection, self._database)
                more, minutes = self._fold_next(connection, target)
            folded += minutes
        return folded

    def retain(self) -> int:
        """Remove what is older than its class is kept. Returns how many rows went.

        The marks move first: from then on reports use what stays, so that none of them sees a tier
        that is half removed.
        """
        with self._database.write() as connection:
            lock(connection, self._database)
            marks = self._move_marks(connection)
        removed = 0
        blocks = usage_blocks.c.grain
        for table, condition, grain, until in (
            (usage_minutes, sa.true(), MINUTE, marks.minutes),
            (usage_hours, sa.true(), HOUR, marks.hours),
            (usage_days, sa.true(), DAY, marks.days),
            (usage_blocks, blocks == QUARTER, QUARTER, marks.hours),
            # Blocks that end by then: of the others days are kept.
            *((usage_blocks, blocks == size, size, floor(marks.days, size)) for size in DAY_BLOCKS),
        ):
            removed += self._remove(table, table.c.minute, condition, until)
            summary = usage_summaries.c.grain == grain
            for cube in CUBES:
                of_cube = sa.and_(usage_summaries.c.cube == cube.name, summary)
                removed += self._remove(usage_summaries, usage_summaries.c.minute, of_cube, until)
        removed += self._remove(usage_refusals, usage_refusals.c.minute, sa.true(), marks.minutes)
        return removed + self._remove_charges(marks.days // DAY_MINUTES)

    def _fold_next(self, connection: Connection, target: int) -> tuple[bool, int]:
        marks = read_marks(connection)
        folded = marks.get(FOLDED, 0)
        if folded >= target:
            return False, 0
        minute = usage_minutes.c.minute
        first = connection.execute(
            sa.select(sa.func.min(minute)).where(minute >= folded, minute < target)
        ).scalar()
        if first is None:
            set_mark(connection, self._database, FOLDED, target)
            return False, 0
        begin = floor(int(first), FOLD_MINUTES)
        end = begin + FOLD_MINUTES
        rows = connection.execute(
            sa.select(usage_minutes).where(minute >= max(begin, folded), minute < end)
        )
        rollups = {RollupKey(*row[: len(RollupKey._fields)]): _rollup(row) for row in rows}
        spread(connection, self._database, rollups)
        set_mark(connection, self._database, FOLDED, end)
        return end < target, len({key.minute for key in rollups})

    def _move_marks(self, connection: Connection) -> Marks:
        marks = to_marks(read_marks(connection))
        today = floor(self._clock() // MINUTE_MS, DAY)
        # Only what coarser roll-ups hold already may go.
        folded = floor(marks.folded, DAY)
        days = min(today - self._retention.days_days * DAY, folded)
        hours = min(today - self._retention.hours_days * DAY, folded)
        minutes = min(today - self._retention.minutes_days * DAY, folded)
        moved = Marks(
            marks.folded,
            minutes=max(marks.minutes, minutes),
            hours=max(marks.hours, min(hours, minutes)),
            days=max(marks.days, min(days, hours, minutes)),
        )
        for name in Marks._fields[1:]:
            if getattr(moved, name) != getattr(marks, name):
                set_mark(connection, self._database, name, getattr(moved, name))
        return moved

    def _remove(
        self,
        table: sa.Table,
        at: sa.ColumnElement[int],
        condition: sa.ColumnElement[bool],
        until: int,
    ) -> int:
        """Remove rows before ``until``, the oldest first, some thousand in each transaction."""
        removed = 0
        while not self._stopping():
            with self._database.write() as connection:
                edge = connection.execute(
                    sa.select(at)
                    .where(condition, at < until)
                    .order_by(at)
                    .offset(REMOVED_ROWS)
                    .limit(1)
                ).scalar()
                gone = sa.delete(table).where(condition, at < until)
                if edge is not None:
                    gone = gone.where(at <= edge)
                removed += connection.execute(gone).rowcount
            if edge is None:
                break
        return removed

    def _remove_charges(self, until: int) -> int:
        """Charges of closed months whose statements stand on their own, and old thresholds."""
        charges, issued = usage_charges.c, usage_statements.c
        stands = sa.exists().where(
            issued.application == charges.application, issued.month == charges.month
        )
        # Quotas of the present month may still need the others.
        removed = self._remove(usage_charges, charges.day, stands, until)
        with self._database.write() as connection:
            old = usage_thresholds.c.at_ms < day_start_ms(until)
            removed += connection.execute(sa.delete(usage_thresholds).where(old)).rowcount
        return removed


def _rollup(row: sa.Row[tuple[object, ...]]) -> Rollup:
    rollup = Rollup()
    found = row._mapping
    for name in SUMS:
        setattr(rollup, name, found[name])
    rollup.latency = histogram.decode(found["latency"])
    return rollup
