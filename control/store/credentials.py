"""Whose credential it is: one query over management tokens, personal tokens and sessions."""

from typing import Literal

import msgspec
import sqlalchemy as sa

from control.identity.roles import UNBOUND, covers, role_named
from control.store.tables import management_tokens
from control.store.user_tables import grants, sessions, user_tokens, users
from registry.access import Actor, Role
from registry.clock import Clock
from registry.store.database import Database
from registry.store.tables import models

TOUCH_MS = 60_000
"""A session's last use is noted this often, so that most requests write nothing."""
NO_CONSUMER = ""
"""Stands for the consumer of an actor who has none: it reaches no application."""

Kind = Literal["admin", "token", "session", "jwt"]


class Credential(msgspec.Struct, frozen=True):
    """A credential that holds now, and for whom."""

    actor: Actor
    kind: Kind
    id: str
    user: str | None
    """None for an installation's own tokens."""


class Credentials:
    """Looks credentials up. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock, idle_ms: int) -> None:
        self._database = database
        self._clock = clock
        self._idle_ms = idle_ms
        self._query = _query()

    def find(self, hash: str) -> Credential | None:
        """Whose credential has this hash; None when nobody's has, or it has ended."""
        now = self._clock()
        with self._database.read() as connection:
            row = connection.execute(self._query, {"hash": hash}).first()
        if row is None or (row.expires_ms is not None and row.expires_ms <= now):
            return None
        role = role_named(row.role)
        if role is None:
            return None
        if row.kind == "admin":
            return Credential(Actor(row.name, role), "admin", row.id, None)
        own = role_named(row.own_role)
        if row.disabled or own is None or not covers(own, role):
            return None
        if row.kind == "session":
            if row.seen_ms <= now - self._idle_ms:
                return None
            if row.seen_ms <= now - min(TOUCH_MS, self._idle_ms // 4):
                self._touch(hash, now)
        managed = _names(row.owned) | _names(row.granted)
        actor = actor_of(row.name, role, row.consumer, managed)
        return Credential(actor, row.kind, row.id, row.name)

    def _touch(self, hash: str, now: int) -> None:
        with self._database.write() as connection:
            connection.execute(
                sa.update(sessions).where(sessions.c.hash == hash).values(seen_ms=now)
            )


def actor_of(name: str, role: Role, consumer: str | None, managed: frozenset[str]) -> Actor:
    """What a user reaches in a role: everything, or what is theirs."""
    if role in UNBOUND:
        return Actor(name, role)
    return Actor(
        name,
        role,
        consumer=NO_CONSUMER if consumer is None else consumer,
        models=managed if role in ("publisher", "sponsor") else frozenset(),
    )


def _query() -> sa.Select[tuple[object, ...]]:
    hash = sa.bindparam("hash", type_=sa.String(64))
    token, own, session = management_tokens.c, user_tokens.c, sessions.c
    none = sa.null()
    held = sa.union_all(
        sa.select(
            sa.literal("admin").label("kind"),
            token.id,
            token.role.label("role"),
            token.name.label("holder"),
            token.expires_ms,
            sa.cast(none, sa.BigInteger).label("seen_ms"),
        ).where(token.hash == hash),
        sa.select(
            sa.literal("token"), own.id, own.role, own.user_name, own.expires_ms,
            sa.cast(none, sa.BigInteger),
        ).where(own.hash == hash, own.revoked_ms.is_(None)),
        sa.select(
            sa.literal("session"), session.id, sa.cast(none, sa.String(16)), session.user_name,
            session.expires_ms, session.seen_ms,
        ).where(session.hash == hash),
    ).subquery("held")  # fmt: skip
    user = users.c
    owned = (
        sa.select(sa.func.aggregate_strings(models.c.name, ","))
        .where(models.c.owner == user.name)
        .scalar_subquery()
    )
    granted = (
        sa.select(sa.func.aggregate_strings(grants.c.model, ","))
        .where(grants.c.user_name == user.name)
        .scalar_subquery()
    )
    # An installation's token has a holder that is no user, even where a user had the same name.
    of_user = sa.and_(held.c.kind != "admin", user.name == held.c.holder)
    return (
        sa.select(
            held.c.kind,
            held.c.id,
            # A session has its user's role, whatever that is by now.
            sa.func.coalesce(held.c.role, user.role).label("role"),
            held.c.holder.label("name"),
            held.c.expires_ms,
            held.c.seen_ms,
            user.role.label("own_role"),
            user.consumer,
            user.disabled,
            owned.label("owned"),
            granted.label("granted"),
        )
        .select_from(held.outerjoin(users, of_user))
        .where(sa.or_(held.c.kind == "admin", user.deleted_ms.is_(None)))
    )


def _names(text: str | None) -> frozenset[str]:
    return frozenset(text.split(",")) if text else frozenset()
