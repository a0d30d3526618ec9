"""SQL of versions' histories: rows are added and read, never changed."""

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from registry.store.tables import transitions


class TransitionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One step in a version's life. ``from_state`` is None for its registration."""

    id: int
    from_state: str | None
    to_state: str
    actor: str
    reason: str
    digest: str
    at: int


def record(
    connection: Connection,
    model: str,
    number: int,
    *,
    digest: str,
    from_state: str | None,
    to_state: str,
    actor: str,
    reason: str,
    at: int,
) -> None:
    """Add a row to the version's history."""
    row = {
        "model": model,
        "number": number,
        "from_state": from_state,
        "to_state": to_state,
        "actor": actor,
        "reason": reason,
        "digest": digest,
        "at": at,
    }
    connection.execute(sa.insert(transitions).values(row))


def history(
    connection: Connection, model: str, number: int, after: int, limit: int
) -> list[TransitionRecord]:
    """At most ``limit`` steps, oldest first, from the one following ``after``."""
    query = (
        sa.select(transitions)
        .where(
            transitions.c.model == model,
            transitions.c.number == number,
            transitions.c.id > after,
        )
        .order_by(transitions.c.id)
        .limit(limit)
    )
    return [
        TransitionRecord(
            id=row.id,
            from_state=row.from_state,
            to_state=row.to_state,
            actor=row.actor,
            reason=row.reason,
            digest=row.digest,
            at=row.at,
        )
        for row in connection.execute(query)
    ]


def newest_state(connection: Connection, model: str, number: int) -> str | None:
    """The state that the version's history ends with; None where it has none."""
    query = (
        sa.select(transitions.c.to_state)
        .where(transitions.c.model == model, transitions.c.number == number)
        .order_by(transitions.c.id.desc())
        .limit(1)
    )
    found: str | None = connection.execute(query).scalar()
    return found


def reached_at(connection: Connection, model: str, number: int, state: str) -> int | None:
    """When the version came into ``state``; None if it never did."""
    query = sa.select(sa.func.max(transitions.c.at)).where(
        transitions.c.model == model,
        transitions.c.number == number,
        transitions.c.to_state == state,
    )
    found: int | None = connection.execute(query).scalar()
    return found
