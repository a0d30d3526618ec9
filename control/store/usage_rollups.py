"""Adding roll-ups to their tables. Callers hold the lock of ingestion: histograms merge here."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from control import histogram
from control.store.usage_tables import (
    usage_blocks,
    usage_days,
    usage_hours,
    usage_marks,
    usage_minutes,
    usage_summaries,
)
from control.usage import Rollup, RollupKey
from control.usage_tiers import BLOCKS, CUBES, DAY, HOUR, MINUTE, floor, project
from registry.store.database import Database

SUMS: Final = (
    "requests",
    "rows",
    "errors",
    "queue_us",
    "infer_us",
    "total_us",
    "bytes_in",
    "bytes_out",
)
TIERS: Final = {MINUTE: usage_minutes, HOUR: usage_hours, DAY: usage_days}
"""Minutes in a span -> the table of all dimensions."""
FOLDED: Final = "folded"
CLOSED: Final = "closed"
_LOCK: Final = 0x746F6C6C  # an arbitrary number, the same in every control process
_CHUNK: Final = 400
_MERGES: Final = "tollway_merges"
_marks: Final = sa.select(usage_marks.c.name, usage_marks.c.value)


def lock(connection: Connection, database: Database) -> None:
    """One ingestion, folding or closing at a time, over all control processes. SQLite has one
    writer anyway."""
    if not database.is_sqlite:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def read_marks(connection: Connection) -> dict[str, int]:
    """Every mark that is there."""
    return {name: int(value) for name, value in connection.execute(_marks)}


def set_mark(connection: Connection, database: Database, name: str, value: int) -> None:
    """Move a mark."""
    insert = inserting(database)(usage_marks).values(name=name, value=value)
    connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


def inserting(database: Database) -> Callable[[sa.Table], sqlite.Insert | postgresql.Insert]:
    """The ``INSERT`` of the database that knows ``ON CONFLICT``."""
    return sqlite.insert if database.is_sqlite else postgresql.insert


def add_minutes(
    connection: Connection, database: Database, rollups: Mapping[RollupKey, Rollup]
) -> None:
    """Add to the tier of minutes."""
    rows = {tuple(key): rollup for key, rollup in rollups.items()}
    _add(connection, database, usage_minutes, RollupKey._fields, rows)


def spread(connection: Connection, database: Database, rollups: Mapping[RollupKey, Rollup]) -> None:
    """Add minutes to the hours, days, blocks and summaries that hold them."""
    for grain in (HOUR, DAY):
        rows = {tuple(key): rollup for key, rollup in _by(rollups, grain).items()}
        _add(connection, database, TIERS[grain], RollupKey._fields, rows)
    blocks: dict[tuple[object, ...], Rollup] = {
        (grain, *key): rollup for grain in BLOCKS for key, rollup in _by(rollups, grain).items()
    }
    _add(connection, database, usage_blocks, ("grain", *RollupKey._fields), blocks)
    summaries: dict[tuple[object, ...], Rollup] = {}
    for cube in CUBES:
        projected = _merged((project(key, cube), rollup) for key, rollup in rollups.items())
        for grain in cube.grains:
            for key, rollup in _by(projected, grain).items():
                summaries[cube.name, grain, *key] = rollup
    _add(connection, database, usage_summaries, ("cube", "grain", *RollupKey._fields), summaries)


def _by(rollups: Mapping[RollupKey, Rollup], grain: int) -> dict[RollupKey, Rollup]:
    return _merged(
        (key._replace(minute=floor(key.minute, grain)), rollup) for key, rollup in rollups.items()
    )


def _merged(rollups: Iterable[tuple[RollupKey, Rollup]]) -> dict[RollupKey, Rollup]:
    """Sums by key; what was given stays as it is."""
    merged: dict[RollupKey, Rollup] = {}
    for key, rollup in rollups:
        sums = merged.get(key)
        if sums is None:
            sums = merged[key] = Rollup()
        sums.add(rollup)
    return merged


def _add(
    connection: Connection,
    database: Database,
    table: sa.Table,
    names: tuple[str, ...],
    rollups: Mapping[tuple[object, ...], Rollup],
) -> None:
    """Add to rows that are there, make the others."""
    if not rollups:
        return
    keys = [table.c[name] for name in names]
    rows = []
    for key, rollup in rollups.items():
        row: dict[str, object] = dict(zip(names, key, strict=True))
        row.update((name, getattr(rollup, name)) for name in SUMS)
        row["latency"] = histogram.encode(rollup.latency)
        rows.append(row)
    if database.is_sqlite:
        _teach_to_merge(connection)
    else:
        _merge_present(connection, table, keys, rows)
    connection.execute(_upsert(table, names, is_sqlite=database.is_sqlite), rows)


@lru_cache(maxsize=32)  # making a statement takes longer than executing it
def _upsert(table: sa.Table, names: tuple[str, ...], *, is_sqlite: bool) -> sa.Insert:
    insert = sqlite.insert(table) if is_sqlite else postgresql.insert(table)
    latency: sa.ColumnElement[bytes] = insert.excluded["latency"]
    if is_sqlite:
        latency = sa.func.merged_latency(table.c.latency, latency)
    sums = {name: table.c[name] + insert.excluded[name] for name in SUMS}
    return insert.on_conflict_do_update(
        index_elements=[table.c[name] for name in names], set_={**sums, "latency": latency}
    )


def _teach_to_merge(connection: Connection) -> None:
    """Give SQLite, which runs in this process, the function that merges histograms: no row is
    read before it is written, and SQLite would read the whole table for ``(a, b) IN (...)``."""
    if _MERGES in connection.info:  # once for each connection of the pool
        return
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.create_function("merged_latency", 2, _merged_latency, deterministic=True)
    connection.info[_MERGES] = True


def _merged_latency(earlier: bytes, added: bytes) -> bytes:
    return histogram.encode(histogram.decode(earlier + added))


def _merge_present(
    connection: Connection,
    table: sa.Table,
    keys: list[sa.Column[Any]],
    rows: list[dict[str, object]],
) -> None:
    """Merge the histograms that PostgreSQL has into those of ``rows``."""
    by_key = {tuple(row[key.name] for key in keys): row for row in rows}
    wanted = list(by_key)
    for start in range(0, len(wanted), _CHUNK):
        present = connection.execute(
            sa.select(*keys, table.c.latency).where(
                sa.tuple_(*keys).in_(wanted[start : start + _CHUNK])
            )
        )
        for found in present:
            row = by_key[tuple(found[:-1])]
            added = row["latency"]
            assert isinstance(added, bytes)
            row["latency"] = _merged_latency(bytes(found[-1]), added)
