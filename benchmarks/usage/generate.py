"""A database with the roll-ups of ten million requests over 90 days.

Of the last 14 days there are minutes, as with the default retention, of all days everything
coarser. The rows are summed by NumPy and go straight into the tables, since taking ten million
records in would take an hour; the last two hours are taken in and folded by the product itself.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final, TypeVar

import msgspec
import psycopg
import sqlalchemy as sa

from benchmarks.usage.summing import Row, roll_ups
from benchmarks.usage.traffic import Scale, Traffic, between, joined, records
from control.store.usage import UsageStore
from control.store.usage_rollups import FOLDED, TIERS, set_mark
from control.store.usage_tables import usage_blocks, usage_minutes, usage_summaries
from control.store.usage_tiers import SETTLE_MINUTES, Retention, UsageTiers
from control.usage import MINUTE_MS
from control.usage_tiers import BLOCKS, CUBES, DAY, HOUR, MINUTE, floor
from protocol.usage import UsageRecord
from registry.store.database import Database

_Item = TypeVar("_Item")
MINUTES_KEPT: Final = 14 * DAY
TAKEN_IN: Final = 2 * HOUR
"""Minutes at the end that the product takes in and folds."""
_BATCH: Final = 20_000
_SHIPPED: Final = 1_700
"""Records that a gateway ships at once."""
_KEEP_ALL: Final = Retention(10_000, 10_000, 10_000)
_POSTGRES: Final = {
    sa.BigInteger: "int8",
    sa.Integer: "int4",
    sa.String: "varchar",
    sa.LargeBinary: "bytea",
}
_encode: Final = msgspec.json.Encoder().encode


def fill(database: Database, scale: Scale, end_minute: int) -> Iterator[str]:
    """Fill the empty tables of usage up to ``end_minute``; says what it does."""
    days = Traffic(scale, end_minute).days()
    made, kept = end_minute - TAKEN_IN, floor(end_minute, DAY) - MINUTES_KEPT
    days[-1], rest = between(days[-1], 0, made), between(days[-1], made, end_minute)
    everything = joined(days)
    with database.write() as connection:
        indexes = _without_indexes(connection)
        yield "minutes"
        for day in days:
            if len(day.minute) and day.minute[0] >= kept:
                _insert(connection, usage_minutes, roll_ups(day, MINUTE))
        for grain in (HOUR, DAY):
            yield "hours" if grain == HOUR else "days"
            for day in days:
                _insert(connection, TIERS[grain], roll_ups(day, grain))
        for grain in BLOCKS:
            yield f"blocks of {grain / DAY:g} days"
            _insert(connection, usage_blocks, roll_ups(everything, grain), (grain,))
        for cube in CUBES:
            yield f"summary {cube.name}"
            for grain in cube.grains:
                recent = everything if grain > MINUTE else between(everything, kept, made)
                rows = roll_ups(recent, grain, cube)
                _insert(connection, usage_summaries, rows, (cube.name, grain))
        yield "indexes"
        for index in indexes:
            index.create(connection)
        set_mark(connection, database, FOLDED, made)
        set_mark(connection, database, "minutes", max(kept, int(everything.minute[0]) // DAY * DAY))
    yield "the last two hours"
    take_in(database, records(rest), (end_minute + SETTLE_MINUTES) * MINUTE_MS)
    if not database.is_sqlite:  # what autovacuum does in time
        with database.engine.connect() as connection:
            apart = connection.execution_options(isolation_level="AUTOCOMMIT")
            apart.exec_driver_sql("VACUUM ANALYZE")


def take_in(database: Database, taken: list[UsageRecord], now_ms: int) -> None:
    """Have the product count records and fold them."""
    store = UsageStore(database, lambda: now_ms)
    offset = 0
    for batch in _batches(iter(taken), _SHIPPED):
        body = b"".join(_encode(record) + b"\n" for record in batch)
        offset = store.ingest("bench", f"bench-{now_ms}", offset, body).next
    UsageTiers(database, lambda: now_ms, _KEEP_ALL).fold()


def _without_indexes(connection: sa.Connection) -> list[sa.Index]:
    """Remove the indexes beside the keys: made at the end, they cost a fraction."""
    tables = (*TIERS.values(), usage_blocks, usage_summaries)
    indexes = [
        index for table in tables for index in sorted(table.indexes, key=lambda i: str(i.name))
    ]
    for index in indexes:
        index.drop(connection)
    return indexes


def _insert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Iterator[Row],
    prefix: tuple[str | int, ...] = (),
) -> None:
    driver = connection.connection.driver_connection
    whole = (prefix + row for row in rows)
    if isinstance(driver, psycopg.Connection):
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        statement = f"COPY {table.name} ({columns}) FROM STDIN (FORMAT BINARY)"
        with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types([_POSTGRES[type(column.type)] for column in table.columns])
            for row in whole:
                copy.write_row(row)
        return
    marks = ", ".join("?" for _ in table.columns)
    for batch in _batches(whole, _BATCH):
        connection.exec_driver_sql(f"INSERT INTO {table.name} VALUES ({marks})", batch)


def _batches(items: Iterator[_Item], size: int) -> Iterator[list[_Item]]:
    while batch := list(islice(items, size)):
        yield batch
