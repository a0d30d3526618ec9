"""SQL of models."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protocol.configuration import ModelDoc
from registry.store.changes import append
from registry.store.tables import aliases, models, versions


class ModelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A model with what its aliases and versions say of it."""

    name: str
    title: str
    description: str
    created_at: int
    updated_at: int
    aliases: dict[str, int]
    latest: int | None


def insert(connection: Connection, name: str, title: str, description: str, at: int) -> None:
    """Add a model. Raises ``AlreadyThere`` when the name is taken."""
    row = {
        "name": name,
        "title": title,
        "description": description,
        "created_at": at,
        "updated_at": at,
    }
    connection.execute(sa.insert(models).values(row))
    announce(connection, name)


def update(connection: Connection, name: str, title: str, description: str, at: int) -> None:
    """Write a model's texts."""
    connection.execute(
        sa.update(models)
        .where(models.c.name == name)
        .values(title=title, description=description, updated_at=at)
    )


def lock(connection: Connection, name: str) -> bool:
    """Hold the model against other writers until the transaction ends; whether there is one.

    Whoever writes a document that is made of several rows holds this, else two writers on
    PostgreSQL would each publish a document without the other's change.
    """
    query = sa.select(models.c.name).where(models.c.name == name).with_for_update(key_share=True)
    return connection.execute(query).first() is not None


def get(connection: Connection, name: str) -> ModelRecord | None:
    """The model, or None."""
    rows = connection.execute(sa.select(models).where(models.c.name == name)).all()
    found = _records(connection, rows)
    return found[0] if found else None


def page(connection: Connection, after: str, limit: int) -> list[ModelRecord]:
    """At most ``limit`` models in order of their names, from the one following ``after``."""
    query = sa.select(models).where(models.c.name > after).order_by(models.c.name).limit(limit)
    return _records(connection, connection.execute(query).all())


def announce(connection: Connection, name: str) -> None:
    """Put the model's present document on the change stream. The caller holds :func:`lock`."""
    held = sa.select(aliases.c.alias, aliases.c.version).where(aliases.c.model == name)
    labels = {row.alias: row.version for row in connection.execute(held.order_by(aliases.c.alias))}
    append(connection, "model", name, ModelDoc(name=name, aliases=labels))


def _records(
    connection: Connection, rows: Sequence[sa.Row[tuple[object, ...]]]
) -> list[ModelRecord]:
    names = [row.name for row in rows]
    labels: dict[str, dict[str, int]] = {name: {} for name in names}
    held = sa.select(aliases).where(aliases.c.model.in_(names)).order_by(aliases.c.alias)
    for row in connection.execute(held):
        labels[row.model][row.alias] = row.version
    newest = (
        sa.select(versions.c.model, sa.func.max(versions.c.number).label("latest"))
        .where(versions.c.model.in_(names))
        .group_by(versions.c.model)
    )
    latest = {row.model: row.latest for row in connection.execute(newest)}
    return [
        ModelRecord(
            name=row.name,
            title=row.title,
            description=row.description,
            created_at=row.created_at,
            updated_at=row.updated_at,
            aliases=labels[row.name],
            latest=latest.get(row.name),
        )
        for row in rows
    ]
