"""Usage in SQL: exactly-once ingestion."""

from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.charges import Charge, Occasion, charges_of
from control.refusals import refused_in
from control.store import canary_counts, refusals
from control.store.charges import add_charges
from control.store.key_usage import touch_keys
from control.store.quotas import tell_thresholds
from control.store.tables import usage_offsets
from control.store.terms import Terms
from control.store.usage_rollups import FOLDED, add_minutes, lock, read_marks, spread
from control.usage import Batch, Rollup, RollupKey, aggregate, by_key, decode_lines
from registry.clock import Clock
from registry.store.database import Database

# Statements are made once: making one takes longer than executing it.
_offset: Final = usage_offsets.c
_here: Final = sa.and_(
    _offset.gateway == sa.bindparam("of_gateway"), _offset.segment == sa.bindparam("of_segment")
)
_reading: Final = sa.select(_offset.next).where(_here)
_advancing: Final = (
    sa.update(usage_offsets)
    .where(_here)
    .values(
        next=sa.bindparam("following"),
        records=_offset.records + sa.bindparam("more_records"),
        damaged=_offset.damaged + sa.bindparam("more_damaged"),
        updated_ms=sa.bindparam("now"),
    )
)


class Ingested(NamedTuple):
    """Outcome of a batch: the offset wanted next, and what was new in it."""

    next: int
    records: int
    damaged: int


class UsageStore:
    """Takes in batches of usage log lines. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._terms = Terms()

    def ingest(self, gateway: str, segment: str, offset: int, body: bytes) -> Ingested:
        """Count the lines of ``body``, which stand at ``offset`` of the segment, exactly once.

        What was counted before is skipped by its offset, a torn line at the end waits, and a batch
        behind a gap is not taken. The answer is the offset wanted next. Offset and sums commit
        together, so a crash on either side repeats a batch without counting it twice.
        """
        known = self._next(gateway, segment)
        records = damaged = 0
        while offset <= known < offset + len(body):
            # Decoding is the expensive part: it happens before the lock.
            batch = decode_lines(body[known - offset :])
            if batch.consumed == 0:
                break
            places = aggregate(batch.records)
            rollups, charges = by_key(places), charges_of(places)
            refused = refused_in(batch.records)
            with self._database.write() as connection:
                lock(connection, self._database)
                present = _read_next(connection, gateway, segment)
                if present == known:
                    present = known + batch.consumed
                    self._advance(connection, gateway, segment, present, batch)
                    canary_counts.add(connection, batch.records)
                    self._add(connection, rollups, charges)
                    refusals.add(connection, self._database, refused)
                    touch_keys(connection, batch.records, is_sqlite=self._database.is_sqlite)
                    records, damaged = len(batch.records), batch.damaged
            # Where another request took lines of this segment meanwhile, its end is the new start.
            known = present
        return Ingested(known, records, damaged)

    def _next(self, gateway: str, segment: str) -> int:
        with self._database.read() as connection:
            return _read_next(connection, gateway, segment)

    def _add(
        self,
        connection: Connection,
        rollups: dict[RollupKey, Rollup],
        charges: dict[Occasion, Charge],
    ) -> None:
        """Everything that a batch adds to, but for its offset. Under the lock."""
        marks, now = read_marks(connection), self._clock()
        add_minutes(connection, self._database, rollups)
        folded = marks.get(FOLDED, 0)
        # Coarser roll-ups hold every minute before the mark: what is late goes there at once.
        late = {key: rollup for key, rollup in rollups.items() if key.minute < folded}
        if late:
            spread(connection, self._database, late)
        self._terms.refresh(connection)
        accounts = add_charges(connection, self._database, self._terms, charges, marks, now)
        if accounts:
            tell_thresholds(connection, self._database, self._terms, accounts, now)

    def _advance(
        self,
        connection: Connection,
        gateway: str,
        segment: str,
        following: int,
        batch: Batch,
    ) -> None:
        row = {
            "of_gateway": gateway,
            "of_segment": segment,
            "following": following,
            "more_records": len(batch.records),
            "more_damaged": batch.damaged,
            "now": self._clock(),
        }
        if connection.execute(_advancing, row).rowcount == 0:
            values = dict(zip(usage_offsets.columns.keys(), row.values(), strict=True))
            connection.execute(sa.insert(usage_offsets).values(values))


def _read_next(connection: Connection, gateway: str, segment: str) -> int:
    place = {"of_gateway": gateway, "of_segment": segment}
    return int(connection.execute(_reading, place).scalar() or 0)
