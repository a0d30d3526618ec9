"""The queue of deliveries: what is taken, in which order, and how little is read for it."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.delivery_queue import DeliveryQueue
from control.store.webhook_events import queue, queue_new
from control.store.webhook_tables import webhook_deliveries, webhooks
from control.store.webhooks import Endpoints
from control.webhooks.events import Event
from registry.access import Actor
from registry.store.database import Database
from tests.control.running import START_MS, FakeClock

DAY_MS = 86_400_000
LEASE_MS = 30_000


def endpoint(
    connection: Connection,
    id: str,
    *,
    enabled: bool = True,
    scope: str = "all",
    consumer: str | None = None,
    models: str | None = None,
    owner: str = "admin",
) -> None:
    connection.execute(
        sa.insert(webhooks).values(
            id=id, url="https://1.1.1.1", events='["*"]', title="", scope=scope, consumer=consumer,
            models=models, owner=owner, enabled=enabled, disabled_reason="", generation=1, since=0,
            created_ms=START_MS, updated_ms=START_MS,
        )
    )  # fmt: skip


def deliveries(connection: Connection, webhook: str, count: int, at_ms: int = START_MS) -> None:
    for number in range(count):
        queue(connection, webhook, f"evt-{at_ms}-{number}", "key.created", "{}", at_ms + number)


def taken(database: Database, clock: FakeClock, limit: int, **busy: int) -> list[str]:
    found = DeliveryQueue(database, clock, DAY_MS).take(limit, busy, 4, LEASE_MS)
    return [one.webhook for one in found]


def test_the_oldest_are_taken_first_and_an_endpoint_has_only_its_share(
    database: Database, clock: FakeClock
) -> None:
    with database.write() as connection:
        for id in ("old", "new", "off", "none"):
            endpoint(connection, id, enabled=id != "off")
        deliveries(connection, "off", 3, START_MS - 2000)
        deliveries(connection, "old", 20, START_MS - 1000)
        deliveries(connection, "new", 2, START_MS - 10)
        deliveries(connection, "none", 5, START_MS + 60_000)

    assert taken(database, clock, 5, old=2) == ["old", "old", "new", "new"]
    assert taken(database, clock, 3) == ["old", "old", "old"]
    assert taken(database, clock, 50, old=4) == []
    clock.advance(LEASE_MS / 1000 + 1)  # what was taken and not finished is due again
    assert sorted(taken(database, clock, 50)) == ["new"] * 2 + ["old"] * 4


def test_two_that_look_at_once_take_different_deliveries(
    database: Database, clock: FakeClock
) -> None:
    with database.write() as connection:
        endpoint(connection, "one")
        deliveries(connection, "one", 3, START_MS - 10)
    if database.is_sqlite:
        assert [len(taken(database, clock, 2)) for _ in range(2)] == [2, 1]
        return
    with database.write() as connection:
        # Another process holds the first at this moment: it is left to that one, without a wait.
        first = sa.select(webhook_deliveries.c.id).order_by(webhook_deliveries.c.next_ms).limit(1)
        held = connection.execute(first.with_for_update()).scalar_one()
        connection.execute(sa.text("SET LOCAL lock_timeout = '1s'"))
        found = DeliveryQueue(database, clock, DAY_MS).take(3, {}, 4, LEASE_MS)
        assert held not in [one.id for one in found]
        assert len(found) == 2


def test_a_backlog_is_not_read_to_find_what_is_due(database: Database, clock: FakeClock) -> None:
    if not database.is_sqlite:
        return  # its planner scans a table as small as a test's
    with database.write() as connection:
        for id in ("one", "two"):
            endpoint(connection, id)
            deliveries(connection, id, 3, START_MS - 10)
    plans: list[str] = []

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def explained(
        connection: Connection, _cursor: object, statement: str, parameters: object, *_more: object
    ) -> None:
        if statement.startswith("SELECT") and "webhook_deliveries" in statement:
            raw = connection.connection.cursor()
            raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in raw.fetchall())

    assert len(taken(database, clock, 10)) == 6
    reads = [plan for plan in plans if "webhook_deliveries" in plan]
    assert reads
    assert all("SEARCH" in plan for plan in reads), reads


def test_an_event_is_queued_once_for_each_endpoint_in_one_statement(database: Database) -> None:
    events = [
        Event(seq=n, id=f"evt-{n}", at_ms=0, type="key.created", body="{}", application="shop")
        for n in range(3)
    ]
    with database.write() as connection:
        for id in ("one", "two"):
            endpoint(connection, id)
        queue_new(connection, [("one", events[0])], START_MS)
    statements: list[str] = []
    sa.event.listen(
        database.engine, "before_cursor_execute", lambda *args: statements.append(args[2])
    )
    heard = [(webhook, event) for event in events for webhook in ("one", "two")]
    with database.write() as connection:
        queue_new(connection, heard, START_MS)
        queue_new(connection, [], START_MS)
        rows = connection.execute(
            sa.select(webhook_deliveries.c.webhook, webhook_deliveries.c.event)
        ).all()

    assert sorted(map(tuple, rows)) == sorted((w, e.id) for w, e in heard)
    assert len([one for one in statements if one.startswith("INSERT")]) == 1


def test_another_tenants_endpoints_are_not_read_for_a_list(
    database: Database, clock: FakeClock
) -> None:
    with database.write() as connection:
        endpoint(connection, "a", scope="consumer", consumer="acme", owner="eve")
        endpoint(connection, "b", scope="consumer", consumer="bank", owner="bob")
        endpoint(connection, "c", scope="models", owner="pub")
        endpoint(connection, "d", scope="models", owner="else", models='["risk"]')
        endpoint(connection, "e", scope="models", owner="else", models='["risk","other"]')
        endpoint(connection, "f")
    endpoints = Endpoints(database, clock)

    def seen(actor: Actor) -> str:
        return "".join(one.id for one in endpoints.list(100, "", actor).items)

    assert seen(Actor("admin", "admin")) == "abcdef"
    assert seen(Actor("eve", "consumer", "acme", frozenset())) == "a"
    assert seen(Actor("new", "consumer")) == ""
    assert seen(Actor("pub", "publisher", "acme", frozenset({"risk"}))) == "acd"
    assert seen(Actor("pub", "publisher", "bank", frozenset())) == "bc"
    assert seen(Actor("lead", "publisher", None, frozenset({"risk"}))) == "abd"
