"""A transaction that makes many changes writes the logs once, the same as one by one."""

from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from control.store.failures import ATTEMPTS, repeated
from control.store.stream import publish_if_new
from registry.store import audit, changes
from registry.store.database import Database


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """How the logs are gathered does not depend on the database."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


class Doc(msgspec.Struct, frozen=True):
    n: int


def happen(connection: Connection) -> None:
    changes.append(connection, "model", "a", Doc(1))
    audit.record(connection, "model.created", "model", "a", at_ms=1, after={"n": 1})
    assert publish_if_new(connection, "model", "a", Doc(2))
    assert not publish_if_new(connection, "model", "a", Doc(2))
    changes.append(connection, "model", "b", None)
    audit.record(connection, "model.changed", "model", "a", at_ms=2, after={"n": 2})
    assert publish_if_new(connection, "model", "a", Doc(1))  # the database has this one already


def written(database: Database) -> tuple[list[object], list[object], list[object]]:
    with database.read() as connection:
        return (
            list(connection.execute(sa.select(changes.changes).order_by(changes.changes.c.seq))),
            list(connection.execute(sa.select(audit.audit).order_by(audit.audit.c.seq))),
            [
                *connection.execute(sa.select(changes.change_stream.c.seq)),
                *connection.execute(sa.select(audit.audit_head)),
            ],
        )


def test_gathered_logs_are_those_that_were_written_one_by_one(tmp_path: Path) -> None:
    found = []
    for gathers in (False, True):
        database = Database(f"sqlite:///{tmp_path / str(gathers)}.db")
        with database.write() as connection:
            changes.metadata.create_all(connection)
            changes.initialise(connection)
            audit.initialise(connection)
        for _ in range(2):
            with (
                database.write() as connection,
                audit.gathered(connection) if gathers else nullcontext(),
            ):
                happen(connection)
        found.append(written(database))
        database.close()

    assert found[0] == found[1]
    assert len(found[0][1]) == 4


def test_nothing_is_written_and_nothing_is_left_over_when_the_transaction_fails(
    database: Database,
) -> None:
    before = written(database)

    def fail() -> None:
        with database.write() as connection, audit.gathered(connection):
            happen(connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert written(database) == before
    with database.write() as connection:  # the same connection, from the pool
        happen(connection)
    assert len(written(database)[1]) == len(before[1]) + 2


class DeadlockError(Exception):
    sqlstate = "40P01"


def refuse(error: Exception) -> OperationalError:
    return OperationalError("UPDATE ...", {}, error)


def test_a_transaction_that_was_deadlocked_is_run_again_whole_and_not_for_ever() -> None:
    inner: list[int] = []
    outer: list[int] = []

    @repeated
    def part() -> None:
        inner.append(1)
        if len(inner) < ATTEMPTS:
            raise refuse(DeadlockError())

    @repeated
    def whole() -> str:
        outer.append(1)
        part()
        return "done"

    assert whole() == "done"
    assert len(outer) == len(inner) == ATTEMPTS

    @repeated
    def hopeless() -> None:
        outer.append(1)
        raise refuse(DeadlockError())

    outer.clear()
    with pytest.raises(OperationalError):
        hopeless()
    assert len(outer) == ATTEMPTS


def test_a_database_that_is_away_is_not_asked_again() -> None:
    asked: list[int] = []

    @repeated
    def ask() -> None:
        asked.append(1)
        raise refuse(Exception("connection refused"))

    with pytest.raises(OperationalError):
        ask()
    assert len(asked) == 1
