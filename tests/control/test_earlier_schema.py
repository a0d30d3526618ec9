"""What the first schema held comes over: documents, keys, subscriptions, and usage to the last
microsecond."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
import pytest
import sqlalchemy as sa

from control import histogram
from control.charges import BILLED
from control.store import schema
from control.store.stream import Stream
from control.store.tables import api_keys, applications, subscriptions
from control.store.usage_rollups import SUMS
from control.store.usage_tables import (
    usage_blocks,
    usage_charges,
    usage_days,
    usage_hours,
    usage_minutes,
    usage_summaries,
)
from control.store.usage_tiers import Retention, UsageTiers
from control.usage import MINUTE_MS, RollupKey
from control.usage_tiers import BLOCKS, CUBES, DAY
from protocol.configuration import DELETED, ApplicationDoc, KeyDoc, SubscriptionDoc
from registry.store.database import Database

START: Final = 1_800_000_000_000 // MINUTE_MS
COUNT: Final = 600
SLOTS: Final = 20
SLOT_MINUTES: Final = 37
KEPT: Final = Retention(10_000, 10_000, 10_000)
OLD_DOCUMENTS: Final = (
    ("application", "shop", '{"name":"shop","consumer":"acme"}'),
    ("application", "gone", '{"name":"gone","consumer":"acme"}'),
    ("key", "key-1", '{"id":"key-1","hash":"h1","application":"shop"}'),
    ("key", "key-2", '{"id":"key-2","hash":"h2","application":"shop"}'),
    ("subscription", "shop/risk", '{"application":"shop","model":"risk","plan":"unlimited"}'),
    ("application", "gone", None),
    ("key", "key-2", None),
)
"""As the first version wrote them, in their order."""
ROWS: Final = (
    "INSERT INTO consumers VALUES ('acme', 'Acme', 1, 2)",
    "INSERT INTO applications VALUES ('shop', 'acme', 'The shop', 3, 4)",
    "INSERT INTO subscriptions VALUES ('shop', 'risk', 'unlimited', 5, 6)",
    (
        "INSERT INTO api_keys (id, hash, prefix, application, label, environment, models,"
        " expires_ms, created_ms, created_by) VALUES"
        " ('key-1', 'h1', 'tw_1', 'shop', 'till', 'live', '[\"risk\"]', 1900000000999, 7, 'ann')"
    ),
    (
        "INSERT INTO api_keys (id, hash, prefix, application, label, environment, created_ms,"
        " revoked_ms, created_by) VALUES ('key-2', 'h2', 'tw_2', 'shop', '', 'test', 8, 9, 'ann')"
    ),
)


def old_usage() -> list[dict[str, object]]:
    """Rows of ``usage_minutes`` with histograms as the first version stored them."""
    dice = random.Random(3)
    rows = []
    for number in range(COUNT):
        status = dice.choice([200, 200, 200, 400, 429, 503])
        durations = [dice.randrange(1, 2_000_000) for _ in range(1 + number % 3)]
        rows.append(
            {
                "minute": START + number % SLOTS * SLOT_MINUTES,
                "application": "shop" if number % 7 else "",
                "key": f"key-{number // SLOTS}" if number % 7 else "",
                "model": dice.choice(["risk", "churn"]),
                "version": 1 + number // SLOTS,
                "variant": dice.choice(["stable", "canary"]),
                "status": status,
                "requests": len(durations),
                "rows": 2 * len(durations),
                "errors": len(durations) if status >= 400 else 0,
                "queue_us": dice.randrange(500),
                "infer_us": sum(durations) // 2,
                "total_us": sum(durations),
                "bytes_in": dice.randrange(2**40),
                "bytes_out": 100,
                "latency": msgspec.msgpack.encode(histogram.of(durations)),
            }
        )
    return rows


def sums_of(rows: list[dict[str, object]]) -> dict[str, int]:
    return {name: sum(int(str(row[name])) for row in rows) for name in SUMS}


def place_of(row: Mapping[str, object] | sa.RowMapping) -> tuple[object, ...]:
    return tuple(row[name] for name in RollupKey._fields)


def latency_of(row: Mapping[str, object] | sa.RowMapping) -> bytes:
    latency = row["latency"]
    assert isinstance(latency, bytes | memoryview)
    return bytes(latency)


@pytest.fixture
def usage() -> list[dict[str, object]]:
    return old_usage()


@pytest.fixture
def upgraded(database_url: str, usage: list[dict[str, object]]) -> Iterator[Database]:
    """A database of the first schema, with everything in it, at head."""
    opened = Database(database_url)
    columns = (*RollupKey._fields, *SUMS, "latency")
    with opened.write() as connection:
        schema.migrate(connection, "0001")
        schema.changes.initialise(connection)
        for statement in ROWS:
            connection.execute(sa.text(statement.replace(":", r"\:")))
        changes = sa.table("changes", *map(sa.column, ("seq", "kind", "key", "doc")))
        connection.execute(
            sa.insert(changes),
            [
                {"seq": seq, "kind": kind, "key": key, "doc": doc}
                for seq, (kind, key, doc) in enumerate(OLD_DOCUMENTS, start=1)
            ],
        )
        connection.execute(sa.text(f"UPDATE change_stream SET seq = {len(OLD_DOCUMENTS)}"))
        minutes = sa.table("usage_minutes", *map(sa.column, columns))
        connection.execute(sa.insert(minutes), usage)
    assert schema.upgrade(opened) is True
    yield opened
    opened.close()


def test_usage_keeps_every_sum_and_every_duration_in_every_tier(
    upgraded: Database, usage: list[dict[str, object]]
) -> None:
    now_ms = (START + SLOTS * SLOT_MINUTES + DAY) * MINUTE_MS
    UsageTiers(upgraded, lambda: now_ms, KEPT).fold()
    wanted = sums_of(usage)
    before = {place_of(row): msgspec.msgpack.decode(latency_of(row)) for row in usage}
    durations: Counter[int] = Counter()
    for counts in before.values():
        durations.update(counts)
    summary = usage_summaries.c
    tiers: list[tuple[sa.Table, sa.ColumnElement[bool]]] = [
        (table, sa.true()) for table in (usage_minutes, usage_hours, usage_days)
    ]
    tiers += [(usage_blocks, usage_blocks.c.grain == grain) for grain in BLOCKS]
    tiers += [
        (usage_summaries, sa.and_(summary.cube == cube.name, summary.grain == grain))
        for cube in CUBES
        for grain in cube.grains
    ]
    with upgraded.read() as connection:
        minutes = connection.execute(sa.select(usage_minutes)).mappings().all()
        after = {place_of(row): histogram.decode(latency_of(row)) for row in minutes}
        assert after == before
        for table, condition in tiers:
            rows = connection.execute(sa.select(table).where(condition)).mappings().all()
            assert sums_of([dict(row) for row in rows]) == wanted, table.name
            found: Counter[int] = Counter()
            for row in rows:
                found.update(histogram.decode(latency_of(row)))
            assert found == durations, table.name


def test_usage_from_before_there_were_prices_counts_against_quotas_and_costs_nothing(
    upgraded: Database, usage: list[dict[str, object]]
) -> None:
    with upgraded.read() as connection:
        charges = connection.execute(sa.select(usage_charges)).mappings().all()
    known = [row for row in usage if row["application"]]
    billed = [row for row in known if row["status"] in BILLED]
    assert sum(row["requests"] for row in charges) == sums_of(billed)["requests"]
    assert sum(row["rows"] for row in charges) == sums_of(billed)["rows"]
    assert sum(row["infer_us"] for row in charges) == sums_of(billed)["infer_us"]
    failed = sums_of([row for row in known if row["status"] == 503])["requests"]
    assert sum(row["failed"] for row in charges) == failed
    assert {row["price"] for row in charges} == {""}
    assert {(row["model"], row["plan"]) for row in charges} == {
        ("risk", "unlimited"),
        ("churn", ""),
    }


def test_rows_and_changes_come_over_and_a_gateway_learns_them_in_their_new_form(
    upgraded: Database,
) -> None:
    with upgraded.read() as connection:
        shop = connection.execute(sa.select(applications)).mappings().one()
        subscription = connection.execute(sa.select(subscriptions)).mappings().one()
        keys = connection.execute(sa.select(api_keys).order_by(api_keys.c.id)).mappings().all()
        changes = schema.changes.changes
        first = connection.execute(
            sa.select(changes.c.kind, changes.c.key, changes.c.doc)
            .where(changes.c.seq <= len(OLD_DOCUMENTS))
            .order_by(changes.c.seq)
        ).all()
    assert [tuple(row) for row in first] == list(OLD_DOCUMENTS)
    assert (shop["consumer"], shop["title"], shop["origins"]) == ("acme", "The shop", "[]")
    assert (subscription["plan"], subscription["state"]) == ("unlimited", "active")
    live, revoked = keys
    assert (live["hash"], live["generation"], live["label"]) == ("h1", 1, "till")
    assert (live["models"], live["expires_ms"]) == ('["risk"]', 1_900_000_000_999)
    assert (revoked["id"], revoked["revoked_ms"]) == ("key-2", 9)

    page = Stream(upgraded).page("", 0)
    documents = {(change.kind, change.key): change.doc for change in page.changes}
    assert page.reset

    application = msgspec.json.decode(documents["application", "shop"], type=ApplicationDoc)
    assert application == ApplicationDoc(name="shop", consumer="acme")
    key = msgspec.json.decode(documents["key", "key-1"], type=KeyDoc)
    assert (key.hash, key.environment, key.models) == ("h1", "live", ("risk",))
    assert key.expires_at == 1_900_000_000
    subscription = msgspec.json.decode(documents["subscription", "shop/risk"], type=SubscriptionDoc)
    assert subscription == SubscriptionDoc(application="shop", model="risk", plan="unlimited")
    assert documents["key", "key-2"] == DELETED
    assert documents["application", "gone"] == DELETED
