"""SQL of aliases and their history."""

from collections.abc import Collection

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from registry.store import models
from registry.store.tables import alias_history, aliases


class AliasRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Where an alias points. ``revision`` grows with every move and never repeats."""

    model: str
    alias: str
    version: int
    revision: int
    updated_at: int


class MoveRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One move of an alias; ``version`` is None where it was deleted."""

    id: int
    version: int | None
    previous: int | None
    actor: str
    at: int
    reason: str = ""
    rollback: bool = False
    """It went back to the version that was there before the present one came."""


def get(connection: Connection, model: str, alias: str) -> AliasRecord | None:
    """The alias, or None."""
    query = sa.select(aliases).where(aliases.c.model == model, aliases.c.alias == alias)
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def page(connection: Connection, model: str, after: str, limit: int) -> list[AliasRecord]:
    """At most ``limit`` aliases of the model by name, from the one following ``after``."""
    query = (
        sa.select(aliases)
        .where(aliases.c.model == model, aliases.c.alias > after)
        .order_by(aliases.c.alias)
        .limit(limit)
    )
    return [_record(row) for row in connection.execute(query)]


def pointing_at(connection: Connection, model: str, version: int) -> list[str]:
    """Names of the aliases that point at the version."""
    query = sa.select(aliases.c.alias).where(aliases.c.model == model, aliases.c.version == version)
    return list(connection.execute(query.order_by(aliases.c.alias)).scalars())


def move(
    connection: Connection,
    *,
    model: str,
    alias: str,
    previous: AliasRecord | None,
    version: int | None,
    actor: str,
    at: int,
    reason: str = "",
    rollback: bool = False,
) -> AliasRecord | None:
    """Point the alias at ``version``, or delete it with None; write history and announce.

    The caller holds the model's lock and has read ``previous`` under it.
    """
    row = {
        "model": model,
        "alias": alias,
        "version": version,
        "previous": None if previous is None else previous.version,
        "actor": actor,
        "at": at,
        "reason": reason,
        "rollback": rollback,
    }
    inserted = sa.insert(alias_history).values(row).returning(alias_history.c.id)
    revision = int(connection.execute(inserted).scalar_one())
    this = (aliases.c.model == model, aliases.c.alias == alias)
    now = {"version": version, "revision": revision, "updated_at": at}
    if version is None:
        connection.execute(sa.delete(aliases).where(*this))
    elif previous is None:
        connection.execute(sa.insert(aliases).values(model=model, alias=alias, **now))
    else:
        connection.execute(sa.update(aliases).where(*this).values(now))
    models.announce(connection, model)
    return get(connection, model, alias)


def history(
    connection: Connection, model: str, alias: str, after: int, limit: int
) -> list[MoveRecord]:
    """At most ``limit`` moves, oldest first, from the one following ``after``."""
    table = alias_history
    query = (
        sa.select(table)
        .where(table.c.model == model, table.c.alias == alias, table.c.id > after)
        .order_by(table.c.id)
        .limit(limit)
    )
    return [_move(row) for row in connection.execute(query)]


def before_present(
    connection: Connection, model: str, alias: str, gone: Collection[int]
) -> int | None:
    """The version that the alias pointed at before its present one came to it, leaving out those
    that are ``gone``; None: there is none.

    Moves are a stack: going to a version puts it on top, going back takes the top away. So going
    back twice goes back two versions, and never to the one that was just left.
    """
    table = alias_history
    query = (
        sa.select(table.c.version, table.c.previous, table.c.rollback)
        .where(table.c.model == model, table.c.alias == alias)
        .order_by(table.c.id.desc())
        .execution_options(yield_per=50)
    )
    taken, present = 0, None
    with connection.execute(query) as moves:
        for number, move in enumerate(moves):
            if number == 0:
                present = move.version
            if move.rollback:
                taken += 1
            elif taken:
                taken -= 1
            elif move.previous is None:
                return None
            elif move.previous != present and move.previous not in gone:
                return int(move.previous)
    return None


def _move(row: sa.Row[tuple[object, ...]]) -> MoveRecord:
    return MoveRecord(
        id=row.id,
        version=row.version,
        previous=row.previous,
        actor=row.actor,
        at=row.at,
        reason=row.reason,
        rollback=row.rollback,
    )


def _record(row: sa.Row[tuple[object, ...]]) -> AliasRecord:
    return AliasRecord(
        model=row.model,
        alias=row.alias,
        version=row.version,
        revision=row.revision,
        updated_at=row.updated_at,
    )
