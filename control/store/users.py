"""Users: who may log in, as what, and on behalf of which consumer."""

import secrets
from collections.abc import Mapping
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.identity.resources import User, UserRequest
from control.identity.roles import MANAGERS, UNBOUND
from control.preconditions import NO_PRECONDITION, Precondition
from control.resources import Page
from control.store.directory import Put, find_consumer
from control.store.failures import repeated
from control.store.grant_rows import remove_grants
from control.store.sessions import end_sessions
from control.store.tables import consumers
from control.store.user_tables import users
from control.store.user_tokens import publish_credentials, revoke_tokens
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.access import Role
from registry.clock import Clock, rfc3339
from registry.store.audit import record
from registry.store.database import Database
from registry.store.tables import models

RESERVED: Final = frozenset({"admin", "anonymous", "me", "system"})
"""Names that stand for something else in paths and histories."""
_NAME_ROOM = 56
"""Characters of a name that are kept where a suffix makes it another."""


class Secret(NamedTuple):
    """What a log-in is checked against."""

    user: User
    hash: str | None


class Users:
    """Reads and writes users. Thread-safe; calls block. Knows passwords as hashes only."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @repeated
    def put(
        self,
        name: str,
        request: UserRequest,
        password_hash: str | None = None,
        condition: Precondition = NO_PRECONDITION,
    ) -> Put[User]:
        """Make or change a user; ``password_hash`` None leaves the password as it is.

        A changed role, a new password and being disabled end sessions and tokens in the same
        transaction.
        """
        check_user_name(name)
        now = self._clock()
        with self._database.write() as connection:
            current = find_user(connection, name, lock=True)
            condition.check(current)
            if current is None:
                role = request.role or "consumer"
                values = {
                    "title": request.title or "",
                    "email": request.email,
                    "role": role,
                    "consumer": consumer_of(connection, name, role, request.consumer, now),
                    "password": password_hash,
                    "disabled": bool(request.disabled),
                }
                return Put(add_user(connection, name, values, now), True)
            return Put(_change(connection, current, request, password_hash, now), False)

    @repeated
    def sign_up(self, name: str, title: str, email: str | None, password_hash: str) -> User:
        """Make a consumer's user; ``CONFLICT`` when the name is taken."""
        check_user_name(name)
        now = self._clock()
        with self._database.write() as connection:
            if find_user(connection, name) is not None:
                raise TollwayError(Code.CONFLICT, f"the name {name!r} is taken: choose another")
            values = {
                "title": title,
                "email": email,
                "role": "consumer",
                "consumer": consumer_of(connection, name, "consumer", None, now),
                "password": password_hash,
                "disabled": False,
            }
            return add_user(connection, name, values, now)

    def get(self, name: str) -> User:
        """The user of this name, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            return get_user(connection, name)

    def list(
        self, limit: int, after: str, search: str | None = None, role: Role | None = None
    ) -> Page[User]:
        """Users by name. ``search``: a text in their name, title, address or consumer, in whatever
        case."""
        query = (
            sa.select(users)
            .where(users.c.name > after, users.c.deleted_ms.is_(None))
            .order_by(users.c.name)
            .limit(limit + 1)
        )
        if search is not None:
            texts = (users.c.name, users.c.title, users.c.email, users.c.consumer)
            found = [text.icontains(search, autoescape=True) for text in texts]
            query = query.where(sa.or_(*found))
        if role is not None:
            query = query.where(users.c.role == role)
        with self._database.read() as connection:
            items = [_user(row) for row in connection.execute(query)]
        return Page.of(items, limit, lambda one: one.name)

    def delete(self, name: str, condition: Precondition = NO_PRECONDITION) -> None:
        """Remove the user and everything that lets them in; the name is never given again.

        Raises ``NOT_FOUND``, and ``CONFLICT`` while they own models.
        """
        now = self._clock()
        with self._database.write() as connection:
            current = get_user(connection, name, lock=True)
            condition.check(current)
            owned = sa.select(models.c.name).where(models.c.owner == name)
            left = list(connection.execute(owned.order_by(models.c.name).limit(5)).scalars())
            if left:
                raise TollwayError(
                    Code.CONFLICT,
                    f"the user {name!r} owns {', '.join(left)}: give models another owner first",
                )
            remove_grants(connection, name, now)
            end_sessions(connection, name, now)
            revoke_tokens(connection, name, now)
            erased = {
                "title": "", "email": None, "password": None, "disabled": True, "issuer": None,
                "subject": None, "consumer": None, "deleted_ms": now, "updated_ms": now,
            }  # fmt: skip
            connection.execute(sa.update(users).where(users.c.name == name).values(erased))
            record(connection, "user.deleted", "user", name, at_ms=now, before=current)

    def secret(self, name: str) -> Secret | None:
        """The user and the hash of their password; None for nobody of this name."""
        with self._database.read() as connection:
            row = connection.execute(_present(name)).first()
        return None if row is None else Secret(_user(row), row.password)

    def change_password(
        self, name: str, old_hash: str, new_hash: str, *, session: str | None, upgrade: bool = False
    ) -> None:
        """Replace the hash if it is ``old_hash`` still, and end the user's other sessions.

        With ``upgrade`` it is the same password under newer parameters: nothing ends.
        """
        now = self._clock()
        table = users.c
        with self._database.write() as connection:
            changed = connection.execute(
                sa.update(users)
                .where(table.name == name, table.password == old_hash)
                .values(password=new_hash)
            )
            if upgrade:
                return
            if changed.rowcount == 0:
                raise TollwayError(Code.CONFLICT, "the password was changed meanwhile")
            end_sessions(connection, name, now, keep=session)
            record(connection, "user.password_changed", "user", name, at_ms=now)


def check_user_name(name: str) -> None:
    """Raise ``INVALID`` unless a user may be called this."""
    check_name(name, "user")
    if name in RESERVED:
        raise TollwayError(Code.INVALID, f"a user cannot be called {name!r}: choose another name")


def find_user(connection: Connection, name: str, *, lock: bool = False) -> User | None:
    """The user of this name, if there is one; ``lock`` holds it against other writers."""
    query = _present(name)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else _user(row)


def get_user(connection: Connection, name: str, *, lock: bool = False) -> User:
    """The user of this name, or ``NOT_FOUND``."""
    found = find_user(connection, name, lock=lock)
    if found is None:
        raise TollwayError(Code.NOT_FOUND, f"there is no user {name[:80]!r}")
    return found


def add_user(connection: Connection, name: str, values: Mapping[str, object], now: int) -> User:
    """Insert a user whose name is free. Raises ``CONFLICT`` for a name that was somebody's."""
    if connection.execute(sa.select(users.c.name).where(users.c.name == name)).first() is not None:
        raise TollwayError(
            Code.CONFLICT, f"there was a user {name!r}, whom histories name: choose another name"
        )
    row = {"issuer": None, "subject": None, **values, "created_ms": now, "updated_ms": now}
    connection.execute(sa.insert(users).values(name=name, deleted_ms=None, **row))
    made = get_user(connection, name)
    record(connection, "user.created", "user", name, at_ms=now, after=made)
    return made


def own_consumer(connection: Connection, name: str, now: int) -> str:
    """Make a consumer for the user ``name``. Never one that is there: it belongs to others."""
    chosen = name
    while find_consumer(connection, chosen) is not None:
        chosen = f"{name[:_NAME_ROOM]}-{secrets.token_hex(3)}"
    row = {"name": chosen, "title": "", "created_ms": now, "updated_ms": now}
    connection.execute(sa.insert(consumers).values(row))
    made = find_consumer(connection, chosen)
    assert made is not None
    record(connection, "consumer.created", "consumer", chosen, at_ms=now, after=made)
    return chosen


def _change(
    connection: Connection,
    current: User,
    request: UserRequest,
    password_hash: str | None,
    now: int,
) -> User:
    name = current.name
    role = request.role or current.role
    if role != current.role and current.issuer is not None:
        raise TollwayError(
            Code.CONFLICT,
            f"the role of {name!r} comes from the issuer {current.issuer!r}: change it there",
        )
    if password_hash is not None and current.issuer is not None:
        raise TollwayError(
            Code.CONFLICT,
            f"{name!r} logs in through the issuer {current.issuer!r}: there is no password here",
        )
    wished = request.consumer or current.consumer
    if role in UNBOUND and request.consumer is None:
        wished = None
    consumer = current.consumer
    if (role, wished) != (current.role, current.consumer):
        consumer = consumer_of(connection, name, role, wished, now)
    values: dict[str, object] = {
        "title": current.title if request.title is None else request.title,
        "email": current.email if request.email is None else request.email,
        "role": role,
        "consumer": consumer,
        "disabled": current.disabled if request.disabled is None else request.disabled,
    }
    if password_hash is None and all(getattr(current, key) == values[key] for key in values):
        return current
    if password_hash is not None:
        values["password"] = password_hash
    connection.execute(
        sa.update(users).where(users.c.name == name).values(updated_ms=now, **values)
    )
    changed = get_user(connection, name)
    record(connection, "user.changed", "user", name, at_ms=now, before=current, after=changed)
    withdraw(connection, current, changed, now, password=password_hash is not None)
    return changed


def withdraw(
    connection: Connection, before: User, after: User, now: int, *, password: bool = False
) -> None:
    """End what the change of a user leaves no right to: sessions, tokens, grants."""
    name = after.name
    if after.disabled or password:
        end_sessions(connection, name, now)
        revoke_tokens(connection, name, now)
    elif after.role != before.role:
        end_sessions(connection, name, now)
        revoke_tokens(connection, name, now, within=after.role)
    if after.role not in MANAGERS:
        remove_grants(connection, name, now)
    publish_credentials(connection, name)


def consumer_of(
    connection: Connection, name: str, role: Role, wished: str | None, now: int
) -> str | None:
    """The consumer that a user of this role belongs to."""
    if role in UNBOUND:
        if wished is not None:
            raise TollwayError(Code.INVALID, f"a user with the role {role} belongs to no consumer")
        return None
    if wished is None:
        return own_consumer(connection, name, now)
    if find_consumer(connection, wished) is None:
        raise TollwayError(
            Code.NOT_FOUND,
            f"there is no consumer {wished[:80]!r}: make it with PUT /api/v1/consumers/NAME",
        )
    return wished


def _present(name: str) -> sa.Select[tuple[object, ...]]:
    return sa.select(users).where(users.c.name == name, users.c.deleted_ms.is_(None))


def _user(row: sa.Row[tuple[object, ...]]) -> User:
    m = row._mapping
    return User(
        name=m["name"],
        title=m["title"],
        email=m["email"],
        role=m["role"],
        consumer=m["consumer"],
        disabled=m["disabled"],
        has_password=m["password"] is not None,
        issuer=m["issuer"],
        created_at=rfc3339(m["created_ms"]),
        updated_at=rfc3339(m["updated_ms"]),
    )
