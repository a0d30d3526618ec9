"""A large installation for the portal: one model and one application as the product makes them,
copied a thousand and ten thousand times, and the usage of ninety days."""

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from benchmarks.usage.generate import fill, take_in
from benchmarks.usage.traffic import Scale, application_name, model_name
from control.store import schema
from control.store.tables import api_keys, applications, consumers, subscriptions
from control.usage import MINUTE_MS
from protocol.usage import UsageRecord
from registry.store.database import Database
from registry.store.tables import (
    alias_history,
    aliases,
    evidence,
    models,
    transitions,
    version_blobs,
    versions,
)

OF_A_MODEL: Final = (
    models, versions, version_blobs, aliases, alias_history, transitions, evidence
)  # fmt: skip
"""Tables that say what a model is, those that others refer to first."""
OWNED: Final = 5
"""Of so many models one is the publisher's who looks at the pages."""
OF_ONE_CONSUMER: Final = 100
"""Of so many applications one is the consumer's who looks at the pages."""
APPLICATIONS_OF_OTHERS: Final = 10
"""Of every other consumer."""
WEEK: Final = 7 * 24 * 60
"""Minutes."""
SETTLING: Final = 6
"""Minutes before now that usage ends at: what is younger is still being counted."""
_BATCH: Final = 5_000


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How large the installation is."""

    models: int
    applications: int
    requests: int
    days: int


def database_of(data: Path) -> Database:
    """Control's database in a stack's data directory. No control runs on it."""
    file = data / "control" / "tollway.db"
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Database(f"sqlite:///{file}")


def fill_usage(database: Database, size: Size, told: Callable[[str], None]) -> None:
    """Make the usage, in a database that is new."""
    schema.upgrade(database)
    end = int(time.time() * 1000) // MINUTE_MS - SETTLING
    for what in fill(database, Scale(requests=size.requests, days=size.days), end):
        told(f"usage: {what}")


def fill_callers(database: Database, size: Size, model: str) -> None:
    """Have every application call the model once within the last week: its first version, or, of
    one in ten, its second, a canary."""
    now = int(time.time() * 1000) // MINUTE_MS - SETTLING
    called = sorted((now - number * 7 % WEEK, number) for number in range(size.applications))
    taken = [
        UsageRecord(
            at_ms=minute * MINUTE_MS,
            application=application_name(number),
            key=f"key-{number}",
            model=model,
            version=2 if number % 10 == 0 else 1,
            variant="canary" if number % 10 == 0 else "stable",
            status=200,
            rows=1,
            queue_us=100,
            infer_us=900,
            total_us=1_000 + number % 100,
            bytes_in=250,
            bytes_out=120,
            prediction_id=f"p{number}",
            plan="unlimited",
        )
        for minute, number in called
    ]
    take_in(database, taken, (now + SETTLING) * MINUTE_MS)


def fill_directory(
    database: Database, size: Size, *, model: str, application: str, publisher: str
) -> None:
    """Copy a model and an application that are there."""
    with database.write() as connection:
        for table in OF_A_MODEL:
            column = table.c["name"] if table is models else table.c["model"]
            rows = connection.execute(sa.select(table).where(column == model)).mappings().all()
            _insert(connection, table, _models(table, [dict(row) for row in rows], size, publisher))
        of = {
            table: dict(connection.execute(sa.select(table).where(column == application))
            .mappings().first() or {})
            for table, column in (
                (applications, applications.c.name),
                (subscriptions, subscriptions.c.application),
                (api_keys, api_keys.c.application),
            )
        }  # fmt: skip
        mine = str(of[applications]["consumer"])
        stamps = {name: of[applications][name] for name in ("created_ms", "updated_ms")}
        others = size.applications // APPLICATIONS_OF_OTHERS + 1
        _insert(
            connection,
            consumers,
            ({"name": f"c-{n}", "title": f"Consumer {n}", **stamps} for n in range(others)),
        )
        _insert(connection, applications, _applications(of[applications], size, mine))
        _insert(connection, subscriptions, _subscriptions(of[subscriptions], size, model))
        _insert(connection, api_keys, _keys(of[api_keys], size))


Row = dict[str, Any]


def _models(table: sa.Table, rows: list[Row], size: Size, publisher: str) -> Iterator[Row]:
    for number in range(size.models):
        for row in rows:
            copied = {name: value for name, value in row.items() if name != "id"}
            if table is models:
                owner = publisher if number % OWNED == 0 else f"publisher-{number % 40}"
                copied |= {"name": model_name(number), "owner": owner, "title": f"Model {number}"}
            else:
                copied["model"] = model_name(number)
            if table is versions:  # no worker of this machine could hold a thousand engines
                copied |= {"loaded": False, "idempotency_key": None}
            yield copied


def _applications(row: Row, size: Size, mine: str) -> Iterator[Row]:
    for number in range(size.applications):
        other = f"c-{number // APPLICATIONS_OF_OTHERS}"
        consumer = mine if number % OF_ONE_CONSUMER == 0 else other
        name = application_name(number)
        yield {**row, "name": name, "consumer": consumer, "title": f"Application {number}"}


def _subscriptions(row: Row, size: Size, model: str) -> Iterator[Row]:
    """Each to two models, every tenth also to the one that was there."""
    for number in range(size.applications):
        subscribed = {model_name(number % size.models), model_name(number * 7 % size.models)}
        if number % 10 == 0:
            subscribed.add(model)
        for one in sorted(subscribed):
            yield {**row, "application": application_name(number), "model": one}


def _keys(row: Row, size: Size) -> Iterator[Row]:
    for number in range(size.applications):
        yield {
            **row,
            "id": f"key-{secrets.token_hex(10)}",
            "hash": secrets.token_hex(32),
            "application": application_name(number),
            "idempotency_key": None,
        }


def _insert(connection: sa.Connection, table: sa.Table, rows: Iterator[Row]) -> None:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            connection.execute(sa.insert(table), batch)
            batch = []
    if batch:
        connection.execute(sa.insert(table), batch)
