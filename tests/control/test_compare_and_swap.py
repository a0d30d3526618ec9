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
from control.resources import ApplicationRequest, ConsumerRequest
from control.store.directory import Directory
from control.store.plans import Plans
from control.store.subscriptions import Subscriptions
from control.store.tables import applications, consumers, subscriptions
from protocol.errors import Code, TollwayError
from registry.store import models
from registry.store.database import Database
from tests.control.running import FakeClock
from tests.fixtures.postgres import prepared

WITHIN_S = 20.0


class Place:
    """A database with one of everything, and a way to change it under another writer's eyes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.directory = Directory(database, FakeClock())
        self.subscriptions = Subscriptions(database, FakeClock())
        self.plans = Plans(database, FakeClock())
        self.plans.write_built_in()
        self.directory.put_application("shop", ApplicationRequest(title="first"))
        with database.write() as connection:
            models.insert(connection, "risk", "", "", 0)
        self.subscriptions.put("shop", "risk", "unlimited")

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
    seen = Precondition(if_match=etag(place.directory.consumer("default")))
    outcome = place.meanwhile(
        lambda c: c.execute(sa.update(consumers).values(title="theirs")),
        lambda: place.directory.put_consumer("default", ConsumerRequest(title="mine"), seen),
    )
    refused(outcome)
    assert place.directory.consumer("default").title == "theirs"


def test_an_application_that_changed_meanwhile_is_not_overwritten(place: Place) -> None:
    seen = Precondition(if_match=etag(place.directory.application("shop")))
    outcome = place.meanwhile(
        lambda c: c.execute(sa.update(applications).values(title="theirs")),
        lambda: place.directory.put_application("shop", ApplicationRequest(title="mine"), seen),
    )
    refused(outcome)
    assert place.directory.application("shop").title == "theirs"


def test_a_subscription_that_changed_meanwhile_is_not_deleted(place: Place) -> None:
    seen = Precondition(if_match=etag(place.subscriptions.get("shop", "risk")))
    outcome = place.meanwhile(
        lambda c: c.execute(sa.update(subscriptions).values(updated_ms=1)),
        lambda: place.subscriptions.delete("shop", "risk", seen),
    )
    refused(outcome)
    assert place.subscriptions.get("shop", "risk")


def test_a_subscription_that_is_deleted_while_it_is_moved_is_made_again(
    place: Place,
) -> None:
    place.plans.put("gold", PlanRequest())
    outcome = place.meanwhile(
        lambda c: c.execute(sa.delete(subscriptions)),
        lambda: place.subscriptions.put("shop", "risk", "gold"),
    )
    assert outcome.result().created
    assert place.subscriptions.get("shop", "risk").plan == "gold"
