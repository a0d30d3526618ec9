"""Users who log in through an identity provider: found by its name and their subject there."""

import hashlib
import re
import secrets
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.identity.resources import User
from control.identity.roles import UNBOUND
from control.store.credentials import NO_CONSUMER, Credential, actor_of
from control.store.failures import repeated
from control.store.tables import applications
from control.store.user_tables import oidc_logins, users
from control.store.user_tokens import managed_models
from control.store.users import (
    RESERVED,
    add_user,
    consumer_of,
    get_user,
    withdraw,
)
from protocol.errors import Code, TollwayError
from registry.access import Role
from registry.acting import acting, acting_as
from registry.clock import Clock
from registry.store.audit import record
from registry.store.database import Database

LOGIN_MS: Final = 600_000
"""How long a login may take at the identity provider."""
MAX_ACTOR: Final = 255
_UNFIT: Final = re.compile(r"[^a-z0-9]+")
_NAME_ROOM: Final = 48


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a verified token says of its holder."""

    issuer: str
    """Name of the issuer here."""
    subject: str
    role: Role
    title: str = ""
    email: str | None = None
    wished_name: str = ""


class Federated:
    """Reads and writes them, and logins under way. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def holder(self, claims: Claims, application: str | None) -> Credential | None:
        """Who presents a token: the user who logs in so, else an actor ``ISSUER:SUBJECT``.

        The latter reaches the consumer of the application that the token names, and owns what it
        has made. None for a user who is disabled, or who cannot be named.
        """
        id = f"jwt-{claims.issuer}"
        with self._database.read() as connection:
            row = connection.execute(_of(claims)).first()
            if row is not None:
                if row.disabled:
                    return None
                managed = frozenset(managed_models(connection, row.name))
                actor = actor_of(row.name, claims.role, row.consumer, managed)
                return Credential(actor, "jwt", id, row.name)
            name = f"{claims.issuer}:{claims.subject}"
            if not claims.subject or len(name) > MAX_ACTOR or not name.isprintable():
                return None
            consumer = None
            if application is not None:
                query = sa.select(applications.c.consumer).where(applications.c.name == application)
                consumer = connection.execute(query).scalar()
            managed = frozenset(managed_models(connection, name))
        return Credential(
            actor_of(name, claims.role, consumer or NO_CONSUMER, managed), "jwt", id, None
        )

    @repeated
    def put(self, claims: Claims) -> User:
        """The user of these claims, made at their first login. Their role is the issuer's to say.

        Never a user who is there already under another way to log in: a name or an address that an
        issuer claims gives no right to an account.
        """
        now = self._clock()
        with self._database.write() as connection:
            row = connection.execute(_of(claims).with_for_update(key_share=True)).first()
            if row is None:
                return _add(connection, claims, now)
            current = get_user(connection, row.name, lock=True)
            if current.disabled:
                raise TollwayError(Code.FORBIDDEN, "this account is disabled")
            if current.role == claims.role:
                return current
            kept = None if claims.role in UNBOUND else current.consumer
            consumer = consumer_of(connection, current.name, claims.role, kept, now)
            values = {"role": claims.role, "consumer": consumer, "updated_ms": now}
            connection.execute(sa.update(users).where(users.c.name == current.name).values(values))
            changed = get_user(connection, current.name)
            with acting_as(msgspec.structs.replace(acting(), actor=current.name)):
                record(
                    connection, "user.changed", "user", current.name,
                    at_ms=now, before=current, after=changed,
                )  # fmt: skip
                withdraw(connection, current, changed, now)
            return changed

    def begin(self, state: str, issuer: str, browser: str) -> None:
        """Remember a login by its state and the browser's secret; hashes of both."""
        row = {
            "state": _hash(state),
            "issuer": issuer,
            "browser": _hash(browser),
            "expires_ms": self._clock() + LOGIN_MS,
        }
        with self._database.write() as connection:
            connection.execute(sa.insert(oidc_logins).values(row))

    def take(self, state: str, issuer: str, browser: str) -> bool:
        """Whether such a login is under way in this browser. If so, it is over from then on.

        Who brings its state alone, as a preview of a link does, takes it from nobody.
        """
        with self._database.write() as connection:
            row = connection.execute(
                sa.delete(oidc_logins)
                .where(
                    oidc_logins.c.state == _hash(state),
                    oidc_logins.c.browser == _hash(browser),
                    oidc_logins.c.issuer == issuer,
                    oidc_logins.c.expires_ms > self._clock(),
                )
                .returning(oidc_logins.c.state)
            ).first()
        return row is not None


def _add(connection: Connection, claims: Claims, now: int) -> User:
    name = _free_name(connection, claims.wished_name)
    origin = msgspec.structs.replace(acting(), actor=name, role=claims.role)
    with acting_as(origin):
        values = {
            "title": claims.title[:200],
            "email": claims.email,
            "role": claims.role,
            "consumer": consumer_of(connection, name, claims.role, None, now),
            "password": None,
            "disabled": False,
            "issuer": claims.issuer,
            "subject": claims.subject,
        }
        return add_user(connection, name, values, now)


def _free_name(connection: Connection, wished: str) -> str:
    base = _UNFIT.sub("-", wished.partition("@")[0].lower()).strip("-")[:_NAME_ROOM] or "user"
    name = base
    while name in RESERVED or _is_known(connection, name):
        name = f"{base}-{secrets.token_hex(3)}"
    return name


def _is_known(connection: Connection, name: str) -> bool:
    """Whether anybody has, or had, the name."""
    query = sa.select(users.c.name).where(users.c.name == name)
    return connection.execute(query).first() is not None


def _of(claims: Claims) -> sa.Select[tuple[object, ...]]:
    return sa.select(users).where(
        users.c.issuer == claims.issuer,
        users.c.subject == claims.subject,
        users.c.deleted_ms.is_(None),
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
