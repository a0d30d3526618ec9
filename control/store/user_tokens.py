"""Personal tokens. A secret leaves this module once, and only its HMAC stays."""

import secrets

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.identity.resources import NewToken, Token, TokenRequest
from control.identity.roles import UNBOUND, covers, role_named
from control.resources import Page, expiry, optional_time
from control.store.failures import repeated
from control.store.stream import publish_if_new
from control.store.user_tables import grants, sessions, user_tokens, users
from protocol import keys
from protocol.configuration import KeyDoc
from protocol.errors import Code, TollwayError
from registry.access import Actor, Role
from registry.clock import Clock, rfc3339
from registry.store.audit import record
from registry.store.database import Database
from registry.store.tables import models

MAX_TOKENS = 100
"""Tokens of one user that are not revoked."""
_ID_BYTES = 10


class UserTokens:
    """Makes, lists and revokes personal tokens. Thread-safe; calls block."""

    def __init__(self, database: Database, pepper: bytes, clock: Clock) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock

    @repeated
    def create(self, user: str, request: TokenRequest, actor: Actor) -> NewToken:
        """Make a token of ``user`` and publish it. Its secret is in the answer, nowhere else.

        Raises ``NOT_FOUND`` for a user that is not there, ``INVALID`` for a role that is not
        within the user's, ``CONFLICT`` for a user who is disabled or has too many tokens.
        """
        now = self._clock()
        expires_ms = expiry(request.expires_at, now)
        secret = keys.generate("user")
        with self._database.write() as connection:
            role = _allowed(connection, user, request.role)
            row = {
                "id": f"tok-{secrets.token_hex(_ID_BYTES)}",
                "hash": keys.secret_hash(secret.encode(), self._pepper),
                "prefix": secret[: keys.PREFIX_DIGITS],
                "user_name": user,
                "role": role,
                "label": request.label,
                "created_ms": now,
                "created_by": actor.name,
                "expires_ms": expires_ms,
                "revoked_ms": None,
            }
            connection.execute(sa.insert(user_tokens).values(row))
            publish_credentials(connection, user)
            made = _find(connection, str(row["id"]))
            assert made is not None
            record(connection, "token.created", "token", made.id, at_ms=now, after=made)
        return NewToken(secret=secret, **made.model_dump())

    def get(self, id: str, user: str | None) -> Token:
        """The token of this id, of ``user`` alone if named, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            found = _find(connection, id)
        if found is None or user not in (None, found.user):
            raise _missing()
        return found

    def list(self, limit: int, after: str, user: str | None) -> Page[Token]:
        """Tokens by id, of ``user`` alone if named."""
        table = user_tokens.c
        query = sa.select(user_tokens).where(table.id > after).order_by(table.id).limit(limit + 1)
        if user is not None:
            query = query.where(table.user_name == user)
        with self._database.read() as connection:
            items = [_token(row) for row in connection.execute(query)]
        return Page.of(items, limit, lambda one: one.id)

    def revoke(self, id: str, user: str | None) -> Token:
        """End the token for good, here and at every gateway. Repeating it changes nothing."""
        now = self._clock()
        with self._database.write() as connection:
            found = _find(connection, id)
            if found is None or user not in (None, found.user):
                raise _missing()
            lock_users(connection, found.user)
            found = _find(connection, id)
            assert found is not None
            if found.revoked_at is not None:
                return found
            _revoke(connection, [found], now)
            return found.model_copy(update={"revoked_at": rfc3339(now)})


def revoke_tokens(connection: Connection, user: str, now: int, within: Role | None = None) -> None:
    """End the user's tokens, or those alone whose role is not within ``within``."""
    table = user_tokens.c
    query = sa.select(user_tokens).where(table.user_name == user, table.revoked_ms.is_(None))
    found = [_token(row) for row in connection.execute(query.order_by(table.id))]
    _revoke(
        connection,
        [token for token in found if within is None or not covers(within, token.role)],
        now,
    )


def lock_users(connection: Connection, *names: str) -> None:
    """Hold the rows of users until the transaction ends, in one order, before any log is written:
    what is published of them afterwards is what they own and are granted."""
    query = sa.select(users.c.name).where(users.c.name.in_(names)).order_by(users.c.name)
    connection.execute(query.with_for_update(key_share=True)).all()


def publish_credentials(connection: Connection, user: str) -> None:
    """Put the user's tokens and sessions on the change stream as they are now: call after every
    change of what the user owns or is granted, under :func:`lock_users`.

    A gateway knows of a session how long it may last, not when it was used last: one that has been
    idle for too long ends there when the next clean-up finds it.
    """
    own, session = user_tokens.c, sessions.c
    tokens = sa.select(own.id, own.hash, own.role, own.expires_ms).where(
        own.user_name == user, own.revoked_ms.is_(None)
    )
    logins = (
        sa.select(session.id, session.hash, users.c.role, session.expires_ms)
        .join(users, users.c.name == session.user_name)
        # Nobody else's sessions have any use at a gateway.
        .where(session.user_name == user, users.c.role.in_(("admin", "publisher")))
    )
    rows = connection.execute(sa.union_all(tokens, logins).order_by("id")).all()
    if not rows:
        return
    managed = managed_models(connection, user)
    for row in rows:
        document = KeyDoc(
            id=row.id,
            hash=row.hash,
            role=row.role,
            models=None if row.role in UNBOUND else managed,
            # It must not outlive its moment by rounding.
            expires_at=None if row.expires_ms is None else row.expires_ms // 1000,
        )
        publish_if_new(connection, "key", row.id, document)


def managed_models(connection: Connection, user: str) -> tuple[str, ...]:
    """Models that the user owns or is granted, by name."""
    own = sa.select(models.c.name).where(models.c.owner == user)
    granted = sa.select(grants.c.model).where(grants.c.user_name == user)
    found = connection.execute(own.union(granted)).scalars()
    return tuple(sorted(found))


def _allowed(connection: Connection, user: str, role: Role | None) -> Role:
    query = sa.select(users).where(users.c.name == user, users.c.deleted_ms.is_(None))
    found = connection.execute(query.with_for_update(key_share=True)).first()
    if found is None:
        raise TollwayError(Code.NOT_FOUND, f"there is no user {user[:80]!r}")
    if found.disabled:
        raise TollwayError(Code.CONFLICT, f"the user {user!r} is disabled")
    own = role_named(found.role)
    assert own is not None
    if role is not None and not covers(own, role):
        raise TollwayError(
            Code.INVALID, f"a token of a {own} cannot have the role {role}: it would allow more"
        )
    count = (
        sa.select(sa.func.count())
        .select_from(user_tokens)
        .where(user_tokens.c.user_name == user, user_tokens.c.revoked_ms.is_(None))
    )
    if int(connection.execute(count).scalar_one()) >= MAX_TOKENS:
        raise TollwayError(
            Code.CONFLICT, f"the user has {MAX_TOKENS} tokens: revoke one that is not used"
        )
    return role or own


def _revoke(connection: Connection, found: list[Token], now: int) -> None:
    for token in found:
        connection.execute(
            sa.update(user_tokens).where(user_tokens.c.id == token.id).values(revoked_ms=now)
        )
        publish_if_new(connection, "key", token.id, None)
        after = token.model_copy(update={"revoked_at": rfc3339(now)})
        record(connection, "token.revoked", "token", token.id, at_ms=now, before=token, after=after)


def _find(connection: Connection, id: str) -> Token | None:
    row = connection.execute(sa.select(user_tokens).where(user_tokens.c.id == id)).first()
    return None if row is None else _token(row)


def _missing() -> TollwayError:
    # What is not an id may be a secret pasted by mistake, and is not repeated.
    return TollwayError(Code.NOT_FOUND, "there is no token with this id")


def _token(row: sa.Row[tuple[object, ...]]) -> Token:
    m = row._mapping
    return Token(
        id=m["id"],
        prefix=m["prefix"],
        user=m["user_name"],
        role=m["role"],
        label=m["label"],
        created_at=rfc3339(m["created_ms"]),
        created_by=m["created_by"],
        expires_at=optional_time(m["expires_ms"]),
        revoked_at=optional_time(m["revoked_ms"]),
    )
