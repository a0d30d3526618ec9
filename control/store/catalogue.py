"""The catalogue: models that may be called, with what a reader chooses by. A page costs a fixed
number of queries, however many models it has."""

from collections.abc import Sequence
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.catalogue import CatalogueEntry, Quality
from control.catalogue_detail import CatalogueModel
from control.catalogue_search import Facts, Listing
from control.store.catalogue_detail import read_model
from control.store.user_tables import users
from protocol.configuration import CALLABLE_STATES, DeprecationDoc
from protocol.errors import Code, TollwayError
from protocol.manifest import Task
from registry.clock import rfc3339
from registry.store.database import Database
from registry.store.tables import aliases, evidence, models, versions

STABLE: Final = "stable"
MAX_LABELS: Final = 12
MAX_TEXT: Final = 2_000
"""Characters of labels and columns that are searched."""
MAX_FACTS: Final = 20_000
_ASKED: Final = 400
"""Rows that one query names."""


class _Named(msgspec.Struct, frozen=True):
    name: str


class _Head(msgspec.Struct, frozen=True):
    """Of a manifest what the catalogue lists."""

    outputs: tuple[_Named, ...]
    inputs: tuple[_Named, ...]
    columns: tuple[_Named, ...] = ()
    labels: tuple[str | int | float | bool, ...] = ()
    task: Task = "unknown"
    background: object = None


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
        self._facts: dict[str, Facts] = {}
        """By the manifest's digest: what a manifest says never changes."""

    def listings(self) -> list[Listing]:
        """Every model that may be called, by name."""
        with self._database.read() as connection:
            return self._listings(connection, None)

    def entries(self, listings: Sequence[Listing]) -> list[CatalogueEntry]:
        """The listings as a page shows them."""
        with self._database.read() as connection:
            qualities = read_qualities(connection, [(one.name, one.version) for one in listings])
        return [entry_of(one, qualities.get((one.name, one.version))) for one in listings]

    def model(self, name: str, number: int | None = None) -> CatalogueModel:
        """All that the catalogue says of one model, by its version ``number``; None: the one that a
        call without one gets. Raises ``MODEL_NOT_FOUND``, ``VERSION_NOT_FOUND`` for what may not
        be called."""
        with self._database.read() as connection:
            found = self._listings(connection, name)
            if not found:
                raise _unknown(name)
            (listing,) = found
            quality = read_qualities(connection, [(name, listing.version)])
            entry = entry_of(listing, quality.get((name, listing.version)))
            return read_model(connection, entry, number or listing.version, read_qualities)

    def check(self, name: str) -> None:
        """Raise ``MODEL_NOT_FOUND`` for a model that may not be called."""
        with self._database.read() as connection:
            if not _chosen(connection, name):
                raise _unknown(name)

    def size(self) -> int:
        """How many models may be called."""
        callable_ = sa.select(versions.c.model).where(versions.c.state.in_(CALLABLE_STATES))
        query = sa.select(sa.func.count()).select_from(callable_.distinct().subquery())
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def _listings(self, connection: Connection, name: str | None) -> list[Listing]:
        said = _said(connection, name)
        chosen = _chosen(connection, name)
        evaluated = _evaluated(connection, name)
        facts = self._facts_of(
            connection, {row.digest: (row.model, row.number) for row, _ in chosen.values()}
        )
        found = []
        for model in said:
            if model.name not in chosen:
                continue  # it may not be called any more since a moment ago
            row, count = chosen[model.name]
            found.append(
                Listing(
                    name=model.name,
                    title=model.title,
                    description=model.description,
                    owner=model.owner_title or None,
                    updated_at=model.updated_at,
                    version=row.number,
                    versions=count,
                    state=row.state,
                    sunset=sunset_of(row.deprecation),
                    evaluated=(model.name, row.number) in evaluated,
                    facts=facts[row.digest],
                )
            )
        return found

    def _facts_of(
        self, connection: Connection, places: dict[str, tuple[str, int]]
    ) -> dict[str, Facts]:
        """Facts by digest; ``places``: a version that has it. What is known is not read again."""
        known = self._facts
        missing = [(digest, place) for digest, place in places.items() if digest not in known]
        fresh: dict[str, Facts] = {}
        for start in range(0, len(missing), _ASKED):
            pairs = [place for _, place in missing[start : start + _ASKED]]
            query = sa.select(versions.c.digest, versions.c.manifest).where(
                one_of(versions.c.model, versions.c.number, pairs)
            )
            for row in connection.execute(query):
                fresh[row.digest] = _facts(row.manifest)
        found = {digest: fresh.get(digest) or known[digest] for digest in places}
        if len(known) + len(fresh) > MAX_FACTS:
            known = {}
        if fresh:
            self._facts = {**known, **fresh}
        return found


def _unknown(name: str) -> TollwayError:
    return TollwayError(Code.MODEL_NOT_FOUND, f"there is no model {name[:80]!r}")


def entry_of(listing: Listing, quality: Quality | None) -> CatalogueEntry:
    """A listing as the API gives it, before gateways and workers are asked."""
    return CatalogueEntry(
        name=listing.name,
        title=listing.title,
        description=listing.description,
        owner=listing.owner,
        updated_at=rfc3339(listing.updated_at),
        task=listing.facts.task,
        predicts=list(listing.facts.predicts),
        columns=listing.facts.columns,
        explains=listing.facts.explains,
        version=listing.version,
        versions=listing.versions,
        state=listing.state,
        sunset=None if listing.sunset is None else rfc3339(listing.sunset * 1000),
        quality=quality,
    )


def read_qualities(
    connection: Connection, pairs: list[tuple[str, int]]
) -> dict[tuple[str, int], Quality]:
    """The main metric of the newest evaluation of each version."""
    if not pairs:
        return {}
    newest = (
        sa.select(sa.func.max(evidence.c.id))
        .where(one_of(evidence.c.model, evidence.c.number, pairs))
        .group_by(evidence.c.model, evidence.c.number)
    )
    query = sa.select(evidence.c.model, evidence.c.number, evidence.c.document)
    found: dict[tuple[str, int], Quality] = {}
    for model, number, document in connection.execute(query.where(evidence.c.id.in_(newest))):
        given = msgspec.json.decode(document, type=_Evaluation)
        measured = given.metrics.get(given.main_metric)
        if measured is not None and measured.value is not None:
            found[model, number] = Quality(
                metric=given.main_metric,
                value=measured.value,
                rows_name=given.rows_name,
                rows=given.rows,
            )
    return found


def sunset_of(deprecation: str | None) -> int | None:
    """When a version ends (UNIX seconds), by its stored deprecation."""
    return (
        None
        if deprecation is None
        else msgspec.json.decode(deprecation, type=DeprecationDoc).sunset
    )


def one_of(
    model: sa.ColumnElement[str],
    number: sa.ColumnElement[int],
    pairs: Sequence[tuple[str, int]],
) -> sa.ColumnElement[bool]:
    """Whether the two columns are one of these versions."""
    return sa.tuple_(model, number).in_(
        [sa.tuple_(sa.literal(name), sa.literal(version)) for name, version in pairs]
    )


def _said(
    connection: Connection, name: str | None
) -> Sequence[sa.Row[tuple[str, str, str, str | None, int]]]:
    """What publishers say of models, by name."""
    query: sa.Select[tuple[str, str, str, str | None, int]] = sa.select(
        models.c.name,
        models.c.title,
        models.c.description,
        users.c.title.label("owner_title"),
        models.c.updated_at,
    ).join(users, users.c.name == models.c.owner, isouter=True)
    if name is not None:
        query = query.where(models.c.name == name)
    return connection.execute(query.order_by(models.c.name)).all()


_Row = tuple[str, int, str, str, str | None]
_Version = sa.Row[_Row]


def _chosen(connection: Connection, name: str | None) -> dict[str, tuple[_Version, int]]:
    """The version that a call without one gets, else the newest that may be called; and how many
    there are of those."""
    query: sa.Select[_Row] = sa.select(
        versions.c.model,
        versions.c.number,
        versions.c.state,
        versions.c.digest,
        versions.c.deprecation,
    ).where(versions.c.state.in_(CALLABLE_STATES))
    named = sa.select(aliases.c.model, aliases.c.version).where(aliases.c.alias == STABLE)
    if name is not None:
        query = query.where(versions.c.model == name)
        named = named.where(aliases.c.model == name)
    found: dict[str, dict[int, _Version]] = {}
    for row in connection.execute(query):
        found.setdefault(row.model, {})[row.number] = row
    stable = {row.model: row.version for row in connection.execute(named)}
    return {
        model: (numbers.get(stable.get(model, 0)) or numbers[max(numbers)], len(numbers))
        for model, numbers in found.items()
    }


def _evaluated(connection: Connection, name: str | None) -> set[tuple[str, int]]:
    query = sa.select(evidence.c.model, evidence.c.number).distinct()
    if name is not None:
        query = query.where(evidence.c.model == name)
    return {(row.model, row.number) for row in connection.execute(query)}


def _facts(manifest: str) -> Facts:
    head = msgspec.json.decode(manifest, type=_Head)
    labels = [str(label) for label in head.labels]
    outputs = [output.name for output in head.outputs]
    words = "\n".join([*labels, *outputs, *(column.name for column in head.columns)])
    return Facts(
        task=head.task,
        predicts=tuple((labels or outputs)[:MAX_LABELS]),
        columns=len(head.columns) or len(head.inputs),
        explains=head.background is not None,
        words=words[:MAX_TEXT].casefold(),
    )
