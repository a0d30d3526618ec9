"""Consumers and applications: who calls."""

from typing import Generic, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.preconditions import NO_PRECONDITION, Precondition
from control.reach import Reach
from control.resources import (
    DEFAULT_CONSUMER,
    Application,
    ApplicationRequest,
    Consumer,
    ConsumerRequest,
    Item,
    Page,
)
from control.store.applications import (
    application_of,
    check_available,
    find_application,
    get_application,
    missing_application,
    publish_application,
    unavailable,
)
from control.store.endings import end_applications
from control.store.failures import DatabaseError, repeated
from control.store.tables import applications, consumers, ended_applications
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.clock import Clock, rfc3339
from registry.store import audit
from registry.store.database import AlreadyThere, Database

MAX_CASCADE = 1000
"""Applications that one request ends with their consumer: the transaction stays bounded."""


MAX_WORDS = 8
"""Words of a search that count."""


class Put(NamedTuple, Generic[Item]):
    """Outcome of an idempotent PUT."""

    item: Item
    created: bool


class Directory:
    """Reads and writes consumers and applications. Thread-safe; calls block.

    What a transaction judges before it changes it, it reads under a lock: else two writers on
    PostgreSQL could both find their condition true. ``reach`` is the caller's: what is outside of
    it does not exist.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @repeated
    def put_consumer(
        self,
        name: str,
        request: ConsumerRequest,
        condition: Precondition = NO_PRECONDITION,
        *,
        reach: Reach,
    ) -> Put[Consumer]:
        """Make or change a consumer."""
        check_name(name, "consumer")
        if not reach.has_consumer(name):
            raise _missing(name)
        now = self._clock()
        with self._database.write() as connection:
            current = find_consumer(connection, name, lock=True)
            condition.check(current)
            if current is None:
                made = _insert_consumer(connection, name, request.title or "", now)
                _record_made(connection, made, now)
                return Put(made, True)
            if request.title is None or request.title == current.title:
                return Put(current, False)
            values = {"title": request.title, "updated_ms": now}
            connection.execute(sa.update(consumers).where(consumers.c.name == name).values(values))
            update = {"title": request.title, "updated_at": rfc3339(now)}
            changed = current.model_copy(update=update)
            audit.record(
                connection,
                "consumer.changed",
                "consumer",
                name,
                at_ms=now,
                before=current,
                after=changed,
            )
            return Put(changed, False)

    def consumer(self, name: str, *, reach: Reach) -> Consumer:
        """The consumer of this name, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            found = find_consumer(connection, name)
        if found is None or not reach.has_consumer(name):
            raise _missing(name)
        return found

    def consumers(
        self, limit: int, after: str, search: str | None = None, *, reach: Reach
    ) -> Page[Consumer]:
        """Consumers by name. ``search``: a text in their name or title, in whatever case."""
        query = (
            sa.select(consumers)
            .where(consumers.c.name > after)
            .order_by(consumers.c.name)
            .limit(limit + 1)
        )
        if search is not None:
            texts = (consumers.c.name, consumers.c.title)
            query = query.where(
                sa.or_(*(text.icontains(search, autoescape=True) for text in texts))
            )
        if reach.consumer is not None:
            query = query.where(consumers.c.name == reach.consumer)
        with self._database.read() as connection:
            items = [_consumer(row) for row in connection.execute(query)]
        return Page.of(items, limit, lambda one: one.name)

    def delete_consumer(
        self,
        name: str,
        condition: Precondition = NO_PRECONDITION,
        *,
        cascade: bool = False,
        reach: Reach,
    ) -> None:
        """Remove a consumer; with ``cascade`` its applications end first, all in one transaction.

        ``CONFLICT`` while it has applications, or anything else that belongs to it.
        """
        now = self._clock()
        query = sa.select(consumers).where(consumers.c.name == name).with_for_update()
        try:
            with self._database.write() as connection:
                row = connection.execute(query).first()
                if row is None or not reach.has_consumer(name):
                    raise _missing(name)
                current = _consumer(row)
                condition.check(current)
                owned = _owned(connection, name)
                if owned and not cascade:
                    what = "1 application" if len(owned) == 1 else f"{len(owned)} applications"
                    raise TollwayError(
                        Code.CONFLICT,
                        f"consumer {name!r} still has {what}: delete them first, or send "
                        "?cascade=true to end them with it",
                    )
                if len(owned) > MAX_CASCADE:
                    raise TollwayError(
                        Code.CONFLICT,
                        f"consumer {name!r} has more than {MAX_CASCADE} applications: delete some "
                        "of them first",
                    )
                end_applications(connection, owned, now)
                connection.execute(sa.delete(consumers).where(consumers.c.name == name))
                audit.record(
                    connection, "consumer.deleted", "consumer", name, at_ms=now, before=current
                )
        except AlreadyThere as error:
            raise _still_used(name, error) from error

    @repeated
    def put_application(
        self,
        name: str,
        request: ApplicationRequest,
        condition: Precondition = NO_PRECONDITION,
        *,
        reach: Reach,
    ) -> Put[Application]:
        """Make or change an application. One that names no consumer belongs to the caller's, or to
        ``default``, which is made when it is needed."""
        check_name(name, "application")
        now = self._clock()
        with self._database.write() as connection:
            current = find_application(connection, name, lock=True)
            if current is not None and not reach.has_consumer(current.consumer):
                raise unavailable(name)
            condition.check(current)
            usual = (reach.consumer or DEFAULT_CONSUMER) if current is None else current.consumer
            owner = request.consumer or usual
            made_owner = _require_owner(connection, owner, reach, now)
            if current is None:
                check_available(connection, name, owner, reach)
                made = _add_application(connection, name, owner, request, now)
                if made_owner is not None:
                    _record_made(connection, made_owner, now)
                return Put(made, True)
            values = {
                "consumer": owner,
                "title": current.title if request.title is None else request.title,
                "origins": current.origins if request.origins is None else request.origins,
                "capture": current.capture if request.capture is None else request.capture,
            }
            changed = current.model_copy(update={**values, "updated_at": rfc3339(now)})
            if changed.model_copy(update={"updated_at": current.updated_at}) == current:
                return Put(current, False)
            row = {**values, "origins": _json(changed.origins), "updated_ms": now}
            connection.execute(
                sa.update(applications).where(applications.c.name == name).values(row)
            )
            publish_application(connection, changed)
            audit.record(
                connection,
                "application.changed",
                "application",
                name,
                at_ms=now,
                before=current,
                after=changed,
            )
            return Put(changed, False)

    def application(self, name: str, *, reach: Reach) -> Application:
        """The application of this name, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            return get_application(connection, name, reach=reach)

    def applications(
        self, limit: int, after: str, consumer: str | None, search: str = "", *, reach: Reach
    ) -> Page[Application]:
        """Applications by name, of one consumer if named. Every word of ``search`` is in the name,
        the title or the consumer's name, whatever the case."""
        query = (
            sa.select(applications)
            .where(applications.c.name > after)
            .order_by(applications.c.name)
            .limit(limit + 1)
        )
        if consumer is not None:
            query = query.where(applications.c.consumer == consumer)
        if reach.consumer is not None:
            query = query.where(applications.c.consumer == reach.consumer)
        for word in search.split()[:MAX_WORDS]:
            query = query.where(_holds(word))
        with self._database.read() as connection:
            items = [application_of(row) for row in connection.execute(query)]
        return Page.of(items, limit, lambda one: one.name)

    def delete_application(
        self,
        name: str,
        condition: Precondition = NO_PRECONDITION,
        *,
        reach: Reach,
    ) -> None:
        """End an application: its keys are revoked and its subscriptions removed with it."""
        now = self._clock()
        query = sa.select(applications).where(applications.c.name == name).with_for_update()
        with self._database.write() as connection:
            row = connection.execute(query).first()
            if row is None or not reach.has_consumer(application_of(row).consumer):
                raise missing_application(name)
            condition.check(application_of(row))
            end_applications(connection, [name], now)


def find_consumer(connection: Connection, name: str, *, lock: bool = False) -> Consumer | None:
    """The consumer of this name, if there is one; ``lock`` holds it against other writers."""
    query = sa.select(consumers).where(consumers.c.name == name)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else _consumer(row)


def _holds(word: str) -> sa.ColumnElement[bool]:
    fields = (applications.c.name, applications.c.title, applications.c.consumer)
    return sa.or_(*(field.icontains(word, autoescape=True) for field in fields))


def _owned(connection: Connection, consumer: str) -> list[str]:
    query = sa.select(applications.c.name).where(applications.c.consumer == consumer)
    return list(connection.execute(query.limit(MAX_CASCADE + 1)).scalars())


def _require_owner(connection: Connection, owner: str, reach: Reach, now: int) -> Consumer | None:
    """Answers with the consumer ``default`` where it had to be made: the caller records that."""
    check_name(owner, "consumer")
    found = find_consumer(connection, owner)
    if reach.has_consumer(owner):
        if found is not None:
            return None
        if owner == DEFAULT_CONSUMER:
            return _insert_consumer(connection, owner, "", now)
    raise TollwayError(
        Code.NOT_FOUND,
        f"there is no consumer {owner!r}: make it with PUT /api/v1/consumers/{owner}",
    )


def _add_application(
    connection: Connection, name: str, owner: str, request: ApplicationRequest, now: int
) -> Application:
    made = Application(
        name=name,
        consumer=owner,
        title=request.title or "",
        origins=request.origins or (),
        capture=request.capture is not False,
        created_at=rfc3339(now),
        updated_at=rfc3339(now),
    )
    row = {
        "name": name,
        "consumer": owner,
        "title": made.title,
        "origins": _json(made.origins),
        "capture": made.capture,
        "created_ms": now,
        "updated_ms": now,
    }
    connection.execute(sa.insert(applications).values(row))
    connection.execute(sa.delete(ended_applications).where(ended_applications.c.name == name))
    publish_application(connection, made)
    audit.record(connection, "application.created", "application", name, at_ms=now, after=made)
    return made


def _insert_consumer(connection: Connection, name: str, title: str, now: int) -> Consumer:
    row = {"name": name, "title": title, "created_ms": now, "updated_ms": now}
    connection.execute(sa.insert(consumers).values(row))
    return Consumer(name=name, title=title, created_at=rfc3339(now), updated_at=rfc3339(now))


def _record_made(connection: Connection, consumer: Consumer, now: int) -> None:
    # After the change stream's row, never before it: every writer locks the two in this order.
    audit.record(
        connection, "consumer.created", "consumer", consumer.name, at_ms=now, after=consumer
    )


def _json(texts: tuple[str, ...]) -> str:
    return msgspec.json.encode(texts).decode()


def _missing(name: str) -> TollwayError:
    return TollwayError(Code.NOT_FOUND, f"there is no consumer {name[:80]!r}")


def _still_used(name: str, error: DatabaseError) -> TollwayError:
    return TollwayError(
        Code.CONFLICT,
        f"consumer {name!r} still has applications or users: remove them first",
        internal=type(error).__name__,
    )


def _consumer(row: sa.Row[tuple[object, ...]]) -> Consumer:
    m = row._mapping
    return Consumer(
        name=m["name"],
        title=m["title"],
        created_at=rfc3339(m["created_ms"]),
        updated_at=rfc3339(m["updated_ms"]),
    )
