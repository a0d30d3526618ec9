"""The catalogue: models that may be called, with what a reader chooses by. A page costs a fixed
number of queries, however many models it has."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.catalogue import CatalogueEntry, Found, Quality
from control.store.user_tables import users
from protocol.configuration import CALLABLE_STATES, DeprecationDoc, VersionState
from protocol.errors import Code, TollwayError
from protocol.manifest import Manifest
from registry.clock import rfc3339
from registry.store.database import Database
from registry.store.tables import aliases, evidence, models, versions

STABLE: Final = "stable"
MAX_WORDS: Final = 8
_Row = sa.Row[tuple[str, str, str, str | None, int]]


class _Measured(msgspec.Struct, frozen=True):
    value: float | None = None


class _Evaluation(msgspec.Struct, frozen=True):
    """Of an evaluation's document what the catalogue shows."""

    main_metric: str
    rows_name: str
    rows: int
    metrics: dict[str, _Measured]


class Catalogue:
    """Reads what may be called. Thread-safe; calls block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, search: str, after: str, limit: int) -> list[CatalogueEntry]:
        """At most ``limit`` models in order of their names, from the one following ``after``.

        Every word of ``search`` is in the name, the title, the description or the owner's title,
        whatever the case.
        """
        query = _called().where(models.c.name > after).order_by(models.c.name).limit(limit)
        for word in search.split()[:MAX_WORDS]:
            query = query.where(_holds(word))
        with self._database.read() as connection:
            return _entries(connection, connection.execute(query).all())

    def get(self, name: str) -> CatalogueEntry:
        """One model. Raises ``MODEL_NOT_FOUND`` for one that may not be called."""
        with self._database.read() as connection:
            rows = connection.execute(_called().where(models.c.name == name)).all()
            found = _entries(connection, rows)
        if not found:
            raise TollwayError(Code.MODEL_NOT_FOUND, f"there is no model {name[:80]!r}")
        return found[0]

    def size(self) -> int:
        """How many models may be called."""
        callable_ = sa.select(versions.c.model).where(versions.c.state.in_(CALLABLE_STATES))
        query = sa.select(sa.func.count()).select_from(callable_.distinct().subquery())
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())


def _called() -> sa.Select[tuple[str, str, str, str | None, int]]:
    callable_ = sa.exists().where(
        versions.c.model == models.c.name, versions.c.state.in_(CALLABLE_STATES)
    )
    return (
        sa.select(
            models.c.name,
            models.c.title,
            models.c.description,
            users.c.title.label("owner_title"),
            models.c.updated_at,
        )
        .join(users, users.c.name == models.c.owner, isouter=True)
        .where(callable_)
    )


def _holds(word: str) -> sa.ColumnElement[bool]:
    columns = (models.c.name, models.c.title, models.c.description, users.c.title)
    return sa.or_(*(column.icontains(word, autoescape=True) for column in columns))


def _entries(connection: Connection, rows: Sequence[_Row]) -> list[CatalogueEntry]:
    names = [row.name for row in rows]
    if not names:
        return []
    chosen, counts = _chosen(connection, names)
    details = _details(connection, chosen)
    qualities = _qualities(connection, chosen)
    return [
        CatalogueEntry(
            name=row.name,
            title=row.title,
            description=row.description,
            owner=row.owner_title or None,
            updated_at=rfc3339(row.updated_at),
            version=chosen[row.name],
            versions=counts[row.name],
            quality=qualities.get(row.name),
            **details[row.name].fields(),
        )
        for row in rows
    ]


def _chosen(connection: Connection, names: list[str]) -> tuple[dict[str, int], dict[str, int]]:
    """The version that a call without one gets, else the newest that may be called; and how many
    there are of those."""
    found: dict[str, list[int]] = {}
    query = sa.select(versions.c.model, versions.c.number).where(
        versions.c.model.in_(names), versions.c.state.in_(CALLABLE_STATES)
    )
    for model, number in connection.execute(query):
        found.setdefault(model, []).append(number)
    stable = {
        row.model: row.version
        for row in connection.execute(
            sa.select(aliases.c.model, aliases.c.version).where(
                aliases.c.model.in_(names), aliases.c.alias == STABLE
            )
        )
    }
    chosen = {
        model: stable[model] if stable.get(model) in numbers else max(numbers)
        for model, numbers in found.items()
    }
    return chosen, {model: len(numbers) for model, numbers in found.items()}


def _details(connection: Connection, chosen: Mapping[str, int]) -> dict[str, Found]:
    query = sa.select(
        versions.c.model, versions.c.state, versions.c.manifest, versions.c.deprecation
    ).where(_one_of(versions.c.model, versions.c.number, chosen))
    found: dict[str, Found] = {}
    for row in connection.execute(query):
        state: VersionState = row.state
        ending = (
            None
            if row.deprecation is None
            else msgspec.json.decode(row.deprecation, type=DeprecationDoc)
        )
        manifest = msgspec.json.decode(row.manifest, type=Manifest)
        found[row.model] = Found(manifest, state, ending)
    return found


def _qualities(connection: Connection, chosen: Mapping[str, int]) -> dict[str, Quality]:
    """The main metric of the newest evaluation of each chosen version."""
    newest = (
        sa.select(sa.func.max(evidence.c.id))
        .where(_one_of(evidence.c.model, evidence.c.number, chosen))
        .group_by(evidence.c.model)
    )
    query = sa.select(evidence.c.model, evidence.c.document).where(evidence.c.id.in_(newest))
    found: dict[str, Quality] = {}
    for model, document in connection.execute(query):
        given = msgspec.json.decode(document, type=_Evaluation)
        measured = given.metrics.get(given.main_metric)
        if measured is not None and measured.value is not None:
            found[model] = Quality(
                metric=given.main_metric,
                value=measured.value,
                rows_name=given.rows_name,
                rows=given.rows,
            )
    return found


def _one_of(
    model: sa.ColumnElement[str], number: sa.ColumnElement[int], chosen: Mapping[str, int]
) -> sa.ColumnElement[bool]:
    pairs = [sa.tuple_(sa.literal(name), sa.literal(version)) for name, version in chosen.items()]
    return sa.tuple_(model, number).in_(pairs)
