"""SQL of models."""

from collections.abc import Collection, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protocol.configuration import CALLABLE_STATES, CanaryDoc, ModelDoc, ShadowDoc
from registry.store import requirements
from registry.store.changes import append
from registry.store.rollout_tables import rollouts
from registry.store.tables import aliases, models, versions


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a publisher says of a model."""

    title: str = ""
    description: str = ""
    idle_unload_s: int = 0
    """Seconds without a call after which workers let a version go until it is called; 0: never."""
    cold_start_wait_s: int = 0
    """Seconds that a call may wait for its version to be loaded; 0: it is refused meanwhile."""
    capture_permille: int = 0
    """Share of the predictions whose payload is kept, 0 to 1000."""
    capture_days: int = 30
    """Days for which it is kept."""


class ModelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A model with what its aliases and versions say of it."""

    name: str
    title: str
    description: str
    owner: str | None
    """None: not shown to those who do not manage the model."""
    created_at: int
    updated_at: int
    idle_unload_s: int
    cold_start_wait_s: int
    capture_permille: int
    capture_days: int
    aliases: dict[str, int]
    latest: int | None

    @property
    def settings(self) -> ModelSettings:
        """The part that its publisher says."""
        return msgspec.convert(self, ModelSettings, from_attributes=True)


def insert(connection: Connection, name: str, settings: ModelSettings, owner: str, at: int) -> None:
    """Add a model. Raises ``AlreadyThere`` when the name is taken."""
    row = {
        **msgspec.structs.asdict(settings),
        "name": name,
        "owner": owner,
        "created_at": at,
        "updated_at": at,
    }
    connection.execute(sa.insert(models).values(row))
    announce(connection, name)


def update(connection: Connection, name: str, settings: ModelSettings, at: int) -> None:
    """Write what is said of a model. The caller holds :func:`lock`."""
    values = {**msgspec.structs.asdict(settings), "updated_at": at}
    connection.execute(sa.update(models).where(models.c.name == name).values(values))
    announce(connection, name)


def lock(connection: Connection, name: str) -> bool:
    """Hold the model against other writers until the transaction ends; whether there is one.

    Whoever writes a document that is made of several rows holds this, else two writers on
    PostgreSQL would each publish a document without the other's change.
    """
    query = sa.select(models.c.name).where(models.c.name == name).with_for_update(key_share=True)
    return connection.execute(query).first() is not None


def get(
    connection: Connection, name: str, managed: Collection[str] | None = None
) -> ModelRecord | None:
    """The model, or None. One that is not among ``managed`` (None: all are) is shown as the
    catalogue has it."""
    rows = connection.execute(sa.select(models).where(models.c.name == name)).all()
    found = _records(connection, rows, managed)
    return found[0] if found else None


def page(
    connection: Connection, after: str, limit: int, managed: Collection[str] | None = None
) -> list[ModelRecord]:
    """At most ``limit`` models in order of their names, from the one following ``after``: those
    ``managed`` (None: all) and those in the catalogue."""
    query = sa.select(models).where(models.c.name > after).order_by(models.c.name).limit(limit)
    if managed is not None:
        query = query.where(sa.or_(models.c.name.in_(sorted(managed)), _callable(models.c.name)))
    return _records(connection, connection.execute(query).all(), managed)


def is_callable(connection: Connection, name: str) -> bool:
    """Whether the model has a version that may be called: then it is in the catalogue."""
    query = sa.select(sa.literal(1)).where(_callable(sa.literal(name)))
    return connection.execute(query).first() is not None


def owner(connection: Connection, name: str) -> str | None:
    """Who owns the model; None when there is no such model."""
    return connection.execute(sa.select(models.c.owner).where(models.c.name == name)).scalar()


def set_owner(connection: Connection, name: str, owner: str, at: int) -> None:
    """Give the model to another. The caller holds :func:`lock`."""
    connection.execute(
        sa.update(models).where(models.c.name == name).values(owner=owner, updated_at=at)
    )


def _callable(name: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    return sa.exists().where(versions.c.model == name, versions.c.state.in_(CALLABLE_STATES))


def announce(connection: Connection, name: str) -> None:
    """Put the model's present document on the change stream. The caller holds :func:`lock`."""
    held = sa.select(aliases.c.alias, aliases.c.version).where(aliases.c.model == name)
    labels = {row.alias: row.version for row in connection.execute(held.order_by(aliases.c.alias))}
    query = sa.select(
        models.c.idle_unload_s,
        models.c.cold_start_wait_s,
        models.c.capture_permille,
        rollouts.c.canary,
        rollouts.c.shadows,
    ).join(rollouts, rollouts.c.model == models.c.name, isouter=True)
    row = connection.execute(query.where(models.c.name == name)).one()
    agreed = requirements.present(connection, name)
    document = ModelDoc(
        name=name,
        aliases=labels,
        contract=None if agreed is None else agreed.requirements.contract,
        segments={} if agreed is None else agreed.requirements.segments,
        canary=None if row.canary is None else msgspec.json.decode(row.canary, type=CanaryDoc),
        shadows=msgspec.json.decode(row.shadows or "[]", type=tuple[ShadowDoc, ...]),
        idle_unload_s=row.idle_unload_s,
        cold_start_wait_s=row.cold_start_wait_s,
        capture_permille=row.capture_permille,
    )
    append(connection, "model", name, document)


def _records(
    connection: Connection,
    rows: Sequence[sa.Row[tuple[object, ...]]],
    managed: Collection[str] | None,
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
    others = [] if managed is None else [name for name in names if name not in managed]
    if others:
        public = newest.where(versions.c.model.in_(others), versions.c.state.in_(CALLABLE_STATES))
        latest.update(dict.fromkeys(others))
        latest.update({row.model: row.latest for row in connection.execute(public)})
    return [
        ModelRecord(
            name=row.name,
            title=row.title,
            description=row.description,
            owner=None if row.name in others else row.owner,
            created_at=row.created_at,
            updated_at=row.updated_at,
            idle_unload_s=row.idle_unload_s,
            cold_start_wait_s=row.cold_start_wait_s,
            capture_permille=row.capture_permille,
            capture_days=row.capture_days,
            aliases=labels[row.name],
            latest=latest.get(row.name),
        )
        for row in rows
    ]
