"""Conditions hold on PostgreSQL too, where two writers run side by side."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.plans import PlanRequest
from control.preconditions import Precondition, etag
from control.reach import EVERYTHING
from control.resources import ApplicationRequest, ConsumerRequest, KeyRequest
from control.store.directory import Directory
from control.store.endings import end_applications
from control.store.key_rows import KeyRow, find_key, revoke_row
from control.store.key_usage import touch_keys
from control.store.keys import Keys
from control.store.plans import Plans, require_plan
from control.store.rotation import FreshSecret, rotate_row
from control.store.subscriptions import Subscriptions
from control.store.tables import applications, consumers, plans, subscriptions
from protocol.errors import Code, TollwayError
from protocol.usage import UsageRecord
from registry.store import changes, models
from registry.store.database import Database
from tests.control.running import START_MS, FakeClock
from tests.fixtures.postgres import prepared

WITHIN_S = 20.0


class Place:
    """A database with one of everything, and a way to change it under another writer's eyes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.directory = Directory(database, FakeClock())
        self.subscriptions = Subscriptions(database, FakeClock())
        self.keys = Keys(database, b"pepper", FakeClock(), 100)
        self.plans = Plans(database, FakeClock())
        self.plans.write_built_in()
        self.directory.put_application("shop", ApplicationRequest(title="first"), reach=EVERYTHING)
        with database.write() as connection:
            models.insert(connection, "risk", models.ModelSettings(), "admin", 0)
        self.subscriptions.put("shop", "risk", "unlimited", reach=EVERYTHING)

    def meanwhile(
        self, first: Callable[[Connection], object], second: Callable[[], Any]
    ) -> "Future[Any]":
        """Run ``second`` while ``first`` has written but not committed; the outcome of it."""
        with ThreadPoolExecutor(1) as pool:
            with self.database.write() as connection:
                first(connection)
                outcome = pool.submit(second)
                self._until_somebody_waits(outcome)
            outcome.exception(WITHIN_S)
        return outcome

    def live_key_documents(self) -> list[str]:
        """Keys of the documents of API keys that the stream has now."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(changes.changes).order_by(changes.changes.c.seq))
            present = {row.key: row.doc for row in rows if row.kind == "key"}
        return [key for key, doc in present.items() if doc is not None]

    def _until_somebody_waits(self, outcome: "Future[Any]") -> None:
        waiting = sa.text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        deadline = time.monotonic() + WITHIN_S
        while not outcome.done() and time.monotonic() < deadline:
            with self.database.read() as connection:
                if connection.execute(waiting).scalar_one():
                    return
            threading.Event().wait(0.005)
        raise AssertionError("the second writer does not wait for the first")


@pytest.fixture
def place(postgres_url: str) -> Iterator[Place]:
    database = prepared(postgres_url)
    yield Place(database)
    database.close()


def refused(outcome: "Future[Any]") -> None:
    error = outcome.exception()
    assert isinstance(error, TollwayError), outcome
    assert error.code is Code.PRECONDITION_FAILED


def test_a_consumer_that_changed_meanwhile_is_not_overwritten(place: Place) -> None:
    seen = Precondition(if_match=etag(place.directory.consumer("default", reach=EVERYTHING)))
    outcome = place.meanwhile(
        lambda c: c.execute(sa.update(consumers).values(title="theirs")),
        lambda: place.directory.put_consumer(
            "default", ConsumerRequest(title="mine"), seen, reach=EVERYTHING
        ),
    )
    refused(outcome)
    assert place.directory.consumer("default", reach=EVERYTHING).title == "theirs"


def test_an_application_that_changed_meanwhile_is_not_overwritten(place: Place) -> None:
    seen = Precondition(if_match=etag(place.directory.application("shop", reach=EVERYTHING)))
    outcome = place.meanwhile(
        lambda c: c.execute(sa.update(applications).values(title="theirs")),
        lambda: place.directory.put_application(
            "shop", ApplicationRequest(title="mine"), seen, reach=EVERYTHING
        ),
    )
    refused(outcome)
    assert place.directory.application("shop", reach=EVERYTHING).title == "theirs"


def test_a_subscription_that_changed_meanwhile_is_not_deleted(place: Place) -> None:
    seen = Precondition(if_match=etag(place.subscriptions.get("shop", "risk", reach=EVERYTHING)))
    outcome = place.meanwhile(
        lambda c: c.execute(sa.update(subscriptions).values(updated_ms=1)),
        lambda: place.subscriptions.delete("shop", "risk", seen, reach=EVERYTHING),
    )
    refused(outcome)
    assert place.subscriptions.get("shop", "risk", reach=EVERYTHING)


def test_a_subscription_that_is_deleted_while_it_is_moved_is_made_again(
    place: Place,
) -> None:
    place.plans.put("gold", PlanRequest())
    outcome = place.meanwhile(
        lambda c: c.execute(sa.delete(subscriptions)),
        lambda: place.subscriptions.put("shop", "risk", "gold", reach=EVERYTHING),
    )
    assert outcome.result().created
    assert place.subscriptions.get("shop", "risk", reach=EVERYTHING).plan == "gold"


def code_of(outcome: "Future[Any]") -> Code | None:
    """The code of the refusal; None: it was done."""
    error = outcome.exception()
    assert error is None or isinstance(error, TollwayError), error
    return None if error is None else error.code


def test_a_plan_that_changed_meanwhile_is_not_overwritten(place: Place) -> None:
    seen = Precondition(if_match=etag(place.plans.get("free")))
    outcome = place.meanwhile(
        lambda c: c.execute(sa.update(plans).values(updated_ms=1)),
        lambda: place.plans.put("free", PlanRequest(title="mine"), seen),
    )
    refused(outcome)


def test_a_plan_is_not_deleted_under_a_subscription_to_it(place: Place) -> None:
    place.plans.put("gold", PlanRequest())

    def subscribe(connection: Connection) -> None:
        require_plan(connection, "gold")
        connection.execute(sa.update(subscriptions).values(plan="gold"))

    outcome = place.meanwhile(subscribe, lambda: place.plans.delete("gold"))
    assert code_of(outcome) is Code.CONFLICT
    assert place.plans.get("gold")


def test_nobody_subscribes_to_a_plan_that_is_being_deleted(place: Place) -> None:
    place.plans.put("gold", PlanRequest())
    outcome = place.meanwhile(
        lambda c: c.execute(sa.delete(plans).where(plans.c.name == "gold")),
        lambda: place.subscriptions.put("shop", "risk", "gold", reach=EVERYTHING),
    )
    assert code_of(outcome) is Code.INVALID
    assert place.subscriptions.get("shop", "risk", reach=EVERYTHING).plan == "unlimited"


def test_a_key_that_is_being_revoked_is_not_rotated(place: Place) -> None:
    key = place.keys.create(KeyRequest(application="shop"), created_by="x", reach=EVERYTHING)
    outcome = place.meanwhile(
        lambda c: revoke_row(c, locked(c, key.id), 1),
        lambda: place.keys.rotate(key.id, 60, rotated_by="x", reach=EVERYTHING),
    )
    assert code_of(outcome) is Code.CONFLICT
    assert place.live_key_documents() == []


def test_a_key_that_is_being_rotated_is_revoked_with_both_secrets(place: Place) -> None:
    key = place.keys.create(KeyRequest(application="shop"), created_by="x", reach=EVERYTHING)
    fresh = FreshSecret(hash="new", prefix="p", rotated_by="x", rotation_key=None)
    outcome = place.meanwhile(
        lambda c: rotate_row(c, locked(c, key.id), fresh, 60, 1),
        lambda: place.keys.revoke(key.id, reach=EVERYTHING),
    )
    assert outcome.result().revoked_at is not None
    assert place.live_key_documents() == []


def test_two_rotations_at_once_make_two_generations(place: Place) -> None:
    key = place.keys.create(KeyRequest(application="shop"), created_by="x", reach=EVERYTHING)
    fresh = FreshSecret(hash="new", prefix="p", rotated_by="x", rotation_key=None)
    outcome = place.meanwhile(
        lambda c: rotate_row(c, locked(c, key.id), fresh, 60, START_MS),
        lambda: place.keys.rotate(key.id, 60, rotated_by="x", reach=EVERYTHING),
    )
    assert outcome.result().generation == 3
    assert [one.generation for one in outcome.result().overlaps] == [1, 2]
    assert len(place.live_key_documents()) == 3


def test_nothing_is_subscribed_to_an_application_that_is_being_deleted(place: Place) -> None:
    with place.database.write() as connection:
        models.insert(connection, "fraud", models.ModelSettings(), "admin", 0)
    outcome = place.meanwhile(
        lambda c: end_applications(c, ["shop"], 1),
        lambda: place.subscriptions.put("shop", "fraud", "unlimited", reach=EVERYTHING),
    )
    assert code_of(outcome) is Code.NOT_FOUND
    with place.database.read() as connection:
        assert connection.execute(sa.select(subscriptions)).all() == []


def test_no_key_is_made_for_an_application_that_is_being_deleted(place: Place) -> None:
    outcome = place.meanwhile(
        lambda c: end_applications(c, ["shop"], 1),
        lambda: place.keys.create(KeyRequest(application="shop"), created_by="x", reach=EVERYTHING),
    )
    assert code_of(outcome) is Code.NOT_FOUND
    assert place.live_key_documents() == []


def test_a_subscription_made_first_ends_with_its_application(place: Place) -> None:
    with place.database.write() as connection:
        models.insert(connection, "fraud", models.ModelSettings(), "admin", 0)
    row = {"application": "shop", "model": "fraud", "plan": "free"}
    outcome = place.meanwhile(
        lambda c: c.execute(sa.insert(subscriptions).values(**row, created_ms=0, updated_ms=0)),
        lambda: place.directory.delete_application("shop", reach=EVERYTHING),
    )
    assert code_of(outcome) is None
    with place.database.read() as connection:
        assert connection.execute(sa.select(subscriptions)).all() == []


def test_taking_in_usage_does_not_wait_for_a_key_that_is_being_rotated(place: Place) -> None:
    key = place.keys.create(KeyRequest(application="shop"), created_by="x", reach=EVERYTHING)
    record = UsageRecord(
        at_ms=START_MS, application="shop", key=key.id, model="risk", version=1, variant="stable",
        status=200, rows=1, queue_us=1, infer_us=1, total_us=1, bytes_in=1, bytes_out=1,
        prediction_id="p",
    )  # fmt: skip
    with place.database.write() as connection:
        locked(connection, key.id)
        with place.database.write() as other:
            touch_keys(other, [record], is_sqlite=False)
    with place.database.write() as connection:
        touch_keys(connection, [record], is_sqlite=False)

    assert place.keys.get(key.id, reach=EVERYTHING).last_used_at is not None


def locked(connection: Connection, id: str) -> KeyRow:
    found = find_key(connection, id, lock=True)
    assert found is not None
    return found
