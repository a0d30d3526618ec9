"""What the database promises to everybody who uses it, on both kinds."""

import threading

import pytest
import sqlalchemy as sa

from registry.store.database import Database
from registry.store.tables import models
from tests.registry.conftest import Crowd

ROW = {"title": "", "description": "", "created_at": 0, "updated_at": 0}


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(sa.select(models.c.name).order_by(models.c.name)).scalars())


def test_a_write_that_raises_leaves_nothing(database: Database) -> None:
    def fails() -> None:
        with database.write() as connection:
            connection.execute(sa.insert(models).values(name="a", **ROW))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert names(database) == []


def test_a_read_sees_one_state_however_many_statements_it_has(database: Database) -> None:
    count = sa.select(sa.func.count()).select_from(models)
    with database.read() as reading:
        before = reading.execute(count).scalar_one()

        def write() -> None:
            with database.write() as writing:
                writing.execute(sa.insert(models).values(name="a", **ROW))

        writer = threading.Thread(target=write)
        writer.start()
        writer.join()
        assert reading.execute(count).scalar_one() == before
    assert names(database) == ["a"]


def test_writers_that_read_first_never_fail_half_way(database: Database, crowd: Crowd) -> None:
    with database.write() as connection:
        connection.execute(sa.insert(models).values(name="counter", **ROW))

    def increment(_: int) -> None:
        with database.write() as connection:
            row = connection.execute(sa.select(models.c.created_at).with_for_update()).scalar_one()
            connection.execute(sa.update(models).values(created_at=row + 1))

    assert crowd(10, increment) == [None] * 10
    with database.read() as connection:
        assert connection.execute(sa.select(models.c.created_at)).scalar_one() == 10


def test_a_read_cannot_write_on_postgres(postgres_url: str) -> None:
    from tests.fixtures.postgres import prepared

    database = prepared(postgres_url)
    with database.read() as connection, pytest.raises(sa.exc.DBAPIError):
        connection.execute(sa.insert(models).values(name="a", **ROW))
    database.close()
