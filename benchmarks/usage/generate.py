"""Roll-ups as ten million requests leave them: 200 applications, 50 models, 90 days.

Applications differ (a few make most of the traffic), days have their peaks, some requests fail. Of
the last 14 days there are minutes, and everything coarser is summed from them; the older hours are
made as such. Rows go straight into the tables: taking ten million records in would take an hour.
"""

import random
import sqlite3
from collections.abc import Iterator
from itertools import accumulate

import msgspec
import sqlalchemy as sa

from control import histogram
from control.store.usage_rollups import FOLDED, SUMS, TIERS, set_mark
from control.store.usage_tables import usage_blocks, usage_minutes, usage_summaries
from control.usage import MINUTE_MS, RollupKey
from control.usage_tiers import BLOCKS, CUBES, DAY, HOUR, MINUTE
from protocol.usage import UsageRecord
from registry.store.database import Database

APPLICATIONS = 200
MODELS = 50
DAYS = 90
MINUTES_KEPT = 14 * DAY
_STATUSES = (*[200] * 12, 400, 429, 503)
_POOL = 2000
_BATCH = 20_000
_KEY = RollupKey._fields
_Row = tuple[object, ...]
Caller = tuple[str, str, str, str, int]
"""Application, key, model, variant and status."""


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How much is made."""

    requests: int = 10_000_000
    days: int = DAYS


class Traffic:
    """Who calls what, how often, with what outcome. The same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        # Zipf's law, which traffic of many clients follows.
        self._weights = list(accumulate(1 / (rank + 1) ** 0.8 for rank in range(APPLICATIONS)))
        self._durations = [int(self.dice.lognormvariate(7, 0.5)) for _ in range(_POOL)]
        self._alone = [histogram.encode(histogram.of([us])) for us in self._durations]

    def callers(self, count: int) -> list[Caller]:
        """For each request its application, key, model, variant and status."""
        dice = self.dice
        found: list[Caller] = []
        for number in dice.choices(range(APPLICATIONS), cum_weights=self._weights, k=count):
            key = dice.randrange(1 + number % 3)
            variant = "canary" if dice.random() < 0.05 else "stable"
            model = f"model-{(number * 7 + key) % MODELS}"
            status = dice.choice(_STATUSES)
            found.append(
                (f"application-{number}", f"key-{number:06}-{key}", model, variant, status)
            )
        return found

    def row(self, minute: int, version: int, caller: Caller, requests: int) -> _Row:
        """A roll-up of ``requests`` requests of one caller."""
        application, key, model, variant, status = caller
        chosen = [self.dice.randrange(_POOL) for _ in range(requests)]
        run = sum(self._durations[one] for one in chosen)
        latency = b"".join(self._alone[one] for one in chosen)
        errors = requests if status >= 400 else 0
        return (
            *(minute, application, key, model, version, variant, status),
            *(requests, requests, errors, 300 * requests, run, run + 500 * requests),
            *(330 * requests, 120 * requests, latency),
        )


def records(traffic: Traffic, minute: int, minutes: int, count: int) -> list[UsageRecord]:
    """Records of ``count`` requests within some minutes, in their order."""
    return [
        UsageRecord(
            at_ms=minute * MINUTE_MS + index * minutes * MINUTE_MS // count,
            application=application,
            key=key,
            model=model,
            version=1,
            variant=variant,
            status=status,
            rows=1,
            queue_us=300,
            infer_us=1200 + index % 700,
            total_us=1700 + index % 700,
            bytes_in=330,
            bytes_out=120,
            prediction_id=f"p{index}",
            plan="unlimited",
        )
        for index, (application, key, model, variant, status) in enumerate(traffic.callers(count))
    ]


def fill(database: Database, scale: Scale, end_minute: int) -> Iterator[str]:
    """Fill the tables; says what it does. SQLite only."""
    traffic = Traffic(1)
    begin, minutes = end_minute - scale.days * DAY, end_minute - MINUTES_KEPT
    with database.write() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.create_aggregate("joined_latency", 1, _Joined)  # type: ignore[arg-type]
        yield "minutes"
        _insert(connection, usage_minutes, _rows(traffic, scale, minutes, end_minute, MINUTE))
        yield "hours"
        _insert(connection, TIERS[HOUR], _rows(traffic, scale, begin, minutes, HOUR))
        _sum_up(connection, usage_minutes, TIERS[HOUR], HOUR)
        yield "days"
        _sum_up(connection, TIERS[HOUR], TIERS[DAY], DAY)
        for grain in BLOCKS:
            yield f"blocks of {grain // DAY} days"
            _sum_up(connection, TIERS[DAY], usage_blocks, grain, f"{grain}, ")
        for cube in CUBES:
            for grain in cube.grains:
                yield f"summary {cube.name} by {grain} minutes"
                _summarise(connection, cube.name, cube.dimensions, grain)
        set_mark(connection, database, FOLDED, end_minute)
        set_mark(connection, database, "minutes", minutes // DAY * DAY + DAY)


def _rows(traffic: Traffic, scale: Scale, begin: int, end: int, grain: int) -> Iterator[_Row]:
    each = scale.requests / (scale.days * DAY / grain)
    for minute in range(begin, end, grain):
        share = 1.6 if 8 <= minute % DAY // 60 < 20 else 0.4
        version = 1 + (end - minute) // (30 * DAY)
        count = int(each * share + traffic.dice.random())
        counts: dict[Caller, int] = {}
        for caller in traffic.callers(count):
            counts[caller] = counts.get(caller, 0) + 1
        for caller, requests in counts.items():
            yield traffic.row(minute, version, caller, requests)


def _insert(connection: sa.Connection, table: sa.Table, rows: Iterator[_Row]) -> None:
    marks = ", ".join("?" for _ in table.columns)
    batch: list[_Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            connection.exec_driver_sql(f"INSERT INTO {table.name} VALUES ({marks})", batch)
            batch = []
    if batch:
        connection.exec_driver_sql(f"INSERT INTO {table.name} VALUES ({marks})", batch)


def _sum_up(
    connection: sa.Connection, source: sa.Table, target: sa.Table, grain: int, prefix: str = ""
) -> None:
    time = f"minute / {grain} * {grain}"
    keys = ", ".join(f'"{name}"' for name in _KEY if name != "minute")
    sums = ", ".join(f'SUM("{name}")' for name in SUMS)
    connection.exec_driver_sql(
        f"INSERT INTO {target.name} SELECT {prefix}{time}, {keys}, {sums}, joined_latency(latency) "
        f"FROM {source.name} GROUP BY {time}, {keys}"
    )


def _summarise(
    connection: sa.Connection, cube: str, dimensions: tuple[str, ...], grain: int
) -> None:
    names = [name for name in _KEY if name not in {"minute", "key"}]
    empty = {"version": "0", "status": "0"}  # the others are empty text
    keys = ", ".join(name if name in dimensions else empty.get(name, "''") for name in names)
    sums = ", ".join(f'SUM("{name}")' for name in SUMS)
    time = f"minute / {grain} * {grain}"
    connection.exec_driver_sql(
        f"INSERT INTO {usage_summaries.name} SELECT '{cube}', {grain}, {time}, {keys}, {sums}, "
        f"joined_latency(latency) FROM {TIERS[min(grain, DAY)].name} "
        f"GROUP BY {time}, {', '.join(dimensions)}"
    )


class _Joined:
    """An aggregate for SQLite: histograms merged into one."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def step(self, latency: bytes) -> None:
        self._parts.append(latency)

    def finalize(self) -> bytes:
        return histogram.encode(histogram.decode(b"".join(self._parts)))
