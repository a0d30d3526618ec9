"""Consumers and applications: who calls."""

from typing import Generic, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.preconditions import NO_PRECONDITION, Precondition
from control.resources import (
    DEFAULT_CONSUMER,
    Application,
    ApplicationRequest,
    Consumer,
    ConsumerRequest,
    Item,
    Page,
)
from control.store.failures import repeated
from control.store.tables import applications, consumers
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.clock import Clock, rfc3339
from registry.store.database import Database


class Put(NamedTuple, Generic[Item]):
    """Outcome of an idempotent PUT."""

    item: Item
    created: bool


class Directory:
    """Reads and writes consumers and applications. Thread-safe; calls block.

    What a transaction judges before it changes it, it reads under a lock: else two writers on
    PostgreSQL could both find their condition true.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @repeated
    def put_consumer(
        self, name: str, request: ConsumerRequest, condition: Precondition = NO_PRECONDITION
    ) -> Put[Consumer]:
        """Make or change a consumer."""
        check_name(name, "consumer")
        now = self._clock()
        with self._database.write() as connection:
            current = find_consumer(connection, name, lock=True)
            condition.check(current)
            if current is None:
                return Put(_add_consumer(connection, name, request.title or "", now), True)
            if request.title is None or request.title == current.title:
                return Put(current, False)
            values = {"title": request.title, "updated_ms": now}
            connection.execute(sa.update(consumers).where(consumers.c.name == name).values(values))
            update = {"title": request.title, "updated_at": rfc3339(now)}
            return Put(current.model_copy(update=update), False)

    def consumer(self, name: str) -> Consumer:
        """The consumer of this name, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            found = find_consumer(connection, name)
        if found is None:
            raise TollwayError(Code.NOT_FOUND, f"there is no consumer {name[:80]!r}")
        return found

    def consumers(self, limit: int, after: str) -> Page[Consumer]:
        """Consumers by name."""
        query = (
            sa.select(consumers)
            .where(consumers.c.name > after)
            .order_by(consumers.c.name)
            .limit(limit + 1)
        )
        with self._database.read() as connection:
            items = [_consumer(row) for row in connection.execute(query)]
        following = items[limit - 1].name if len(items) > limit else None
        return Page(items=items[:limit], next=following)

    @repeated
    def put_application(
        self, name: str, request: ApplicationRequest, condition: Precondition = NO_PRECONDITION
    ) -> Put[Application]:
        """Make or change an application. The consumer ``default`` is made when it is needed."""
        check_name(name, "application")
        now = self._clock()
        with self._database.write() as connection:
            current = find_application(connection, name, lock=True)
            condition.check(current)
            if current is None:
                owner = request.consumer or DEFAULT_CONSUMER
            else:
                owner = request.consumer or current.consumer
            if find_consumer(connection, check_name(owner, "consumer")) is None:
                if owner != DEFAULT_CONSUMER:
                    raise TollwayError(
                        Code.NOT_FOUND,
                        f"there is no consumer {owner!r}: make it with PUT "
                        f"/api/v1/consumers/{owner}",
                    )
                _add_consumer(connection, owner, "", now)
            if current is None:
                row = {
                    "name": name,
                    "consumer": owner,
                    "title": request.title or "",
                    "created_ms": now,
                    "updated_ms": now,
                }
                connection.execute(sa.insert(applications).values(row))
            else:
                title = current.title if request.title is None else request.title
                if (owner, title) == (current.consumer, current.title):
                    return Put(current, False)
                connection.execute(
                    sa.update(applications)
                    .where(applications.c.name == name)
                    .values(consumer=owner, title=title, updated_ms=now)
                )
            changed = find_application(connection, name)
            assert changed is not None
            return Put(changed, current is None)

    def application(self, name: str) -> Application:
        """The application of this name, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            return get_application(connection, name)

    def applications(self, limit: int, after: str, consumer: str | None) -> Page[Application]:
        """Applications by name, of one consumer if named."""
        query = (
            sa.select(applications)
            .where(applications.c.name > after)
            .order_by(applications.c.name)
            .limit(limit + 1)
        )
        if consumer is not None:
            query = query.where(applications.c.consumer == consumer)
        with self._database.read() as connection:
            items = [_application(row) for row in connection.execute(query)]
        following = items[limit - 1].name if len(items) > limit else None
        return Page(items=items[:limit], next=following)


def find_consumer(connection: Connection, name: str, *, lock: bool = False) -> Consumer | None:
    """The consumer of this name, if there is one; ``lock`` holds it against other writers."""
    query = sa.select(consumers).where(consumers.c.name == name)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else _consumer(row)


def find_application(
    connection: Connection, name: str, *, lock: bool = False
) -> Application | None:
    """The application of this name, if there is one; ``lock`` holds it against other writers."""
    query = sa.select(applications).where(applications.c.name == name)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else _application(row)


def get_application(connection: Connection, name: str) -> Application:
    """The application of this name, or ``NOT_FOUND``."""
    found = find_application(connection, name)
    if found is None:
        raise TollwayError(
            Code.NOT_FOUND,
            f"there is no application {name[:80]!r}: make it with PUT /api/v1/applications/NAME",
        )
    return found


def _add_consumer(connection: Connection, name: str, title: str, now: int) -> Consumer:
    row = {"name": name, "title": title, "created_ms": now, "updated_ms": now}
    connection.execute(sa.insert(consumers).values(row))
    return Consumer(name=name, title=title, created_at=rfc3339(now), updated_at=rfc3339(now))


def _consumer(row: sa.Row[tuple[object, ...]]) -> Consumer:
    m = row._mapping
    return Consumer(
        name=m["name"],
        title=m["title"],
        created_at=rfc3339(m["created_ms"]),
        updated_at=rfc3339(m["updated_ms"]),
    )


def _application(row: sa.Row[tuple[object, ...]]) -> Application:
    m = row._mapping
    return Application(
        name=m["name"],
        consumer=m["consumer"],
        title=m["title"],
        created_at=rfc3339(m["created_ms"]),
        updated_at=rfc3339(m["updated_ms"]),
    )
