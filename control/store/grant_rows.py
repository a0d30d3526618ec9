"""Grants in SQL: found, shown, and taken back all at once."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.identity.resources import Grant
from control.store.user_tables import grants
from registry.clock import rfc3339
from registry.store.audit import record


def is_grant(model: str, user: str) -> sa.ColumnElement[bool]:
    """The condition of the grant's row."""
    return sa.and_(grants.c.model == model, grants.c.user_name == user)


def find_grant(connection: Connection, model: str, user: str) -> Grant | None:
    """The grant, if there is one."""
    row = connection.execute(sa.select(grants).where(is_grant(model, user))).first()
    return None if row is None else grant_of(row)


def remove_grants(connection: Connection, user: str, now: int) -> None:
    """Take back all that the user was granted, who is locked: an entry for each, because whoever
    reads a model's history finds there who managed it until when."""
    held = sa.select(grants).where(grants.c.user_name == user).order_by(grants.c.model)
    before = [grant_of(row) for row in connection.execute(held)]
    connection.execute(sa.delete(grants).where(grants.c.user_name == user))
    for one in before:
        key = f"{one.model}/{user}"
        record(connection, "grant.removed", "grant", key, at_ms=now, before=one)


def grant_of(row: sa.Row[tuple[object, ...]]) -> Grant:
    """The row as the API shows it."""
    m = row._mapping
    return Grant(
        model=m["model"],
        user=m["user_name"],
        created_at=rfc3339(m["created_ms"]),
        created_by=m["created_by"],
        named=m["named"],
    )
