"""Sessions: a bearer secret for a while, stored as its HMAC."""

import secrets
from collections.abc import Iterable
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.identity.resources import NewSession, Session
from control.resources import Page
from control.store.stream import publish_if_new
from control.store.user_tables import oidc_logins, sessions
from control.store.user_tokens import lock_users, publish_credentials
from protocol import keys
from protocol.errors import Code, TollwayError
from registry.access import Role
from registry.clock import Clock, rfc3339
from registry.store.audit import record
from registry.store.database import Database

MAX_SESSIONS = 50
"""Open sessions of one user; another login ends the one that was used longest ago."""
MAX_ADDRESS = 64
MAX_AGENT = 200
_ID_BYTES = 10


class Lifetime(NamedTuple):
    """How long a session lasts, in milliseconds."""

    idle_ms: int
    max_ms: int


class Sessions:
    """Begins, lists and ends sessions. Thread-safe; calls block."""

    def __init__(self, database: Database, pepper: bytes, clock: Clock, lifetime: Lifetime) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock
        self._lifetime = lifetime

    def begin(
        self, connection: Connection, user: str, role: Role, address: str, agent: str
    ) -> NewSession:
        """A session of ``user``, within the caller's transaction, which has locked them."""
        now = self._clock()
        secret = keys.generate("user")
        row = {
            "id": f"ses-{secrets.token_hex(_ID_BYTES)}",
            "hash": keys.secret_hash(secret.encode(), self._pepper),
            "user_name": user,
            "address": address[:MAX_ADDRESS],
            "agent": agent[:MAX_AGENT],
            "created_ms": now,
            "seen_ms": now,
            "expires_ms": now + self._lifetime.max_ms,
        }
        self._make_room(connection, user)
        connection.execute(sa.insert(sessions).values(row))
        publish_credentials(connection, user)
        made = connection.execute(sa.select(sessions).where(sessions.c.id == row["id"])).one()
        shown = _session(made, str(row["id"]))
        return NewSession(secret=secret, role=role, **shown.model_dump())

    def list(self, limit: int, after: str, user: str | None, current: str | None) -> Page[Session]:
        """Open sessions by id, of ``user`` alone if named; ``current`` is the caller's own."""
        query = (
            sa.select(sessions)
            .where(sessions.c.id > after, self._open())
            .order_by(sessions.c.id)
            .limit(limit + 1)
        )
        if user is not None:
            query = query.where(sessions.c.user_name == user)
        with self._database.read() as connection:
            items = [_session(row, current) for row in connection.execute(query)]
        return Page.of(items, limit, lambda one: one.id)

    def end(self, id: str, user: str | None) -> None:
        """End a session, of ``user`` alone if named, or raise ``NOT_FOUND``."""
        with self._database.write() as connection:
            row = connection.execute(sa.select(sessions).where(sessions.c.id == id)).first()
            if row is None or user not in (None, row.user_name):
                raise TollwayError(Code.NOT_FOUND, "there is no session with this id")
            lock_users(connection, row.user_name)
            _end(connection, [row], self._clock())

    def end_all(self, user: str) -> None:
        """End every session of the user."""
        with self._database.write() as connection:
            lock_users(connection, user)
            end_sessions(connection, user, self._clock())

    def drop_expired(self) -> int:
        """Forget sessions, and logins under way, whose time is over. Returns how many."""
        now = self._clock()
        with self._database.write() as connection:
            over = connection.execute(sa.select(sessions).where(~self._open())).all()
            lock_users(connection, *(row.user_name for row in over))
            for row in over:
                _forget(connection, row.id)
            connection.execute(sa.delete(oidc_logins).where(oidc_logins.c.expires_ms <= now))
            return len(over)

    def _open(self) -> sa.ColumnElement[bool]:
        now = self._clock()
        return sa.and_(
            sessions.c.expires_ms > now, sessions.c.seen_ms > now - self._lifetime.idle_ms
        )

    def _make_room(self, connection: Connection, user: str) -> None:
        over = sa.select(sessions.c.id).where(sessions.c.user_name == user, ~self._open())
        for id in connection.execute(over).scalars().all():
            _forget(connection, id)
        held = (
            sa.select(sessions)
            .where(sessions.c.user_name == user)
            .order_by(sessions.c.seen_ms.desc(), sessions.c.id)
            .offset(MAX_SESSIONS - 1)
        )
        _end(connection, connection.execute(held).all(), self._clock())


def end_sessions(connection: Connection, user: str, now: int, keep: str | None = None) -> None:
    """End the user's sessions, except the one with the id ``keep``."""
    query = sa.select(sessions).where(sessions.c.user_name == user)
    rows = connection.execute(query.order_by(sessions.c.id)).all()
    _end(connection, [row for row in rows if row.id != keep], now)


def _end(connection: Connection, rows: Iterable[sa.Row[Any]], now: int) -> None:
    for row in rows:
        _forget(connection, row.id)
        before = {"id": row.id, "user": row.user_name, "created_at": rfc3339(row.created_ms)}
        record(connection, "session.ended", "session", row.id, at_ms=now, before=before)


def _forget(connection: Connection, id: str) -> None:
    connection.execute(sa.delete(sessions).where(sessions.c.id == id))
    publish_if_new(connection, "key", id, None)


def _session(row: sa.Row[tuple[object, ...]], current: str | None) -> Session:
    m = row._mapping
    return Session(
        id=m["id"],
        user=m["user_name"],
        address=m["address"],
        agent=m["agent"],
        current=m["id"] == current,
        created_at=rfc3339(m["created_ms"]),
        seen_at=rfc3339(m["seen_ms"]),
        expires_at=rfc3339(m["expires_ms"]),
    )
