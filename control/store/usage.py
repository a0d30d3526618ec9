"""Usage in SQL: exactly-once ingestion, and sums over the roll-ups."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from control import histogram
from control.store.key_usage import touch_keys
from control.store.tables import usage_minutes, usage_offsets
from control.usage import Batch, Rollup, RollupKey, aggregate, decode_lines
from control.usage_report import UsageRow
from registry.clock import Clock
from registry.store.database import Database

_LOCK = 0x746F6C6C  # an arbitrary number, the same in every control process
_CHUNK = 400
_KEY_COLUMNS = tuple(usage_minutes.c[name] for name in RollupKey._fields)
_SUMS = (
    "requests",
    "rows",
    "errors",
    "queue_us",
    "infer_us",
    "total_us",
    "bytes_in",
    "bytes_out",
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
            rollups = aggregate(batch.records)
            with self._database.write() as connection:
                self._lock(connection)
                present = _read_next(connection, gateway, segment)
                if present == known:
                    present = known + batch.consumed
                    self._advance(connection, gateway, segment, present, batch)
                    _add(connection, rollups, is_sqlite=self._database.is_sqlite)
                    touch_keys(connection, batch.records, is_sqlite=self._database.is_sqlite)
                    records, damaged = len(batch.records), batch.damaged
            # Where another request took lines of this segment meanwhile, its end is the new start.
            known = present
        return Ingested(known, records, damaged)

    def _next(self, gateway: str, segment: str) -> int:
        with self._database.read() as connection:
            return _read_next(connection, gateway, segment)

    def _lock(self, connection: Connection) -> None:
        # One ingestion at a time: histograms are merged here, not in SQL. SQLite has one writer.
        if not self._database.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))

    def _advance(
        self,
        connection: Connection,
        gateway: str,
        segment: str,
        following: int,
        batch: Batch,
    ) -> None:
        table = usage_offsets
        now = self._clock()
        updated = connection.execute(
            sa.update(table)
            .where(table.c.gateway == gateway, table.c.segment == segment)
            .values(
                next=following,
                records=table.c.records + len(batch.records),
                damaged=table.c.damaged + batch.damaged,
                updated_ms=now,
            )
        )
        if updated.rowcount == 0:
            row = {
                "gateway": gateway,
                "segment": segment,
                "next": following,
                "records": len(batch.records),
                "damaged": batch.damaged,
                "updated_ms": now,
            }
            connection.execute(sa.insert(table).values(row))

    def rows(
        self, start_minute: int, end_minute: int, columns: Sequence[str]
    ) -> Iterator[UsageRow]:
        """Roll-ups from ``start_minute`` up to, not including, ``end_minute``, in no order."""
        table = usage_minutes.c
        names = ("requests", "rows", "errors", "infer_us", "latency")
        query = sa.select(
            table.minute, *(table[name] for name in columns), *(table[name] for name in names)
        ).where(table.minute >= start_minute, table.minute < end_minute)
        width = 1 + len(columns)
        with self._database.read() as connection:
            for row in connection.execution_options(yield_per=1000).execute(query):
                yield UsageRow(row[0], tuple(row[1:width]), *row[width:])


def _read_next(connection: Connection, gateway: str, segment: str) -> int:
    table = usage_offsets.c
    found = connection.execute(
        sa.select(table.next).where(table.gateway == gateway, table.segment == segment)
    ).scalar()
    return int(found or 0)


def _add(connection: Connection, rollups: dict[RollupKey, Rollup], *, is_sqlite: bool) -> None:
    """Add roll-ups to the table: sums by the database, histograms merged here under the lock."""
    if not rollups:
        return
    keys = list(rollups)
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        present = connection.execute(
            sa.select(*_KEY_COLUMNS, usage_minutes.c.latency).where(
                sa.tuple_(*_KEY_COLUMNS).in_(chunk)
            )
        )
        for row in present:
            earlier = histogram.decode(row[-1])
            histogram.merge(rollups[RollupKey(*row[:-1])].latency, earlier)
    rows = [
        {
            **key._asdict(),
            **{name: getattr(rollup, name) for name in _SUMS},
            "latency": histogram.encode(rollup.latency),
        }
        for key, rollup in rollups.items()
    ]
    insert = sqlite.insert(usage_minutes) if is_sqlite else postgresql.insert(usage_minutes)
    sums = {name: usage_minutes.c[name] + insert.excluded[name] for name in _SUMS}
    upsert = insert.on_conflict_do_update(
        index_elements=list(_KEY_COLUMNS), set_={**sums, "latency": insert.excluded["latency"]}
    )
    connection.execute(upsert, rows)
