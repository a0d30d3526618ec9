"""What the catalogue says of one model: its versions, evidence and requirements."""

from collections.abc import Callable
from typing import Final

import msgspec
import sqlalchemy as sa
from msgspec import UNSET
from sqlalchemy.engine import Connection

from control.catalogue import CatalogueEntry, Quality
from control.catalogue_detail import CatalogueModel, Evaluation, Release, Statement, changes
from protocol.configuration import CALLABLE_STATES, DeprecationDoc
from protocol.errors import Code, TollwayError
from protocol.evidence import Evidence
from protocol.manifest import Manifest
from registry.clock import rfc3339
from registry.outputs import DeprecationOutput
from registry.requirements_inputs import ConstraintsOutput, ContractOutput
from registry.store import requirements as requirements_store
from registry.store.tables import aliases, evidence, versions

MAX_RELEASES: Final = 50
MAX_PARTS: Final = 50
"""Classes, segments and columns of an evaluation that are shown."""
Qualities = Callable[[Connection, list[tuple[str, int]]], dict[tuple[str, int], Quality]]


class _Version(msgspec.Struct, frozen=True):
    number: int
    digest: str
    manifest: Manifest
    row: sa.Row[tuple[object, ...]]


def read_model(
    connection: Connection, entry: CatalogueEntry, number: int, qualities: Qualities
) -> CatalogueModel:
    """The model with its version ``number``. Raises ``VERSION_NOT_FOUND`` for one that may not be
    called."""
    name = entry.name
    found = _versions(connection, name, number)
    shown = next((one for one in found if one.number == number), None)
    if shown is None:
        raise TollwayError(
            Code.VERSION_NOT_FOUND, f"model {name!r} has no version {number} that may be called"
        )
    stable = connection.execute(
        sa.select(aliases.c.version).where(aliases.c.model == name, aliases.c.alias == "stable")
    ).scalar()
    known = qualities(connection, [(name, one.number) for one in found])
    releases = [
        _release(one, before, stable, known.get((name, one.number)))
        for one, before in zip(found, [*found[1:], None], strict=True)
    ]
    return CatalogueModel(
        **entry.model_dump(),
        stable=stable,
        shown=next(one for one in releases if one.number == number),
        digest=shown.digest,
        manifest=msgspec.to_builtins(_public(shown.manifest)),
        releases=releases[:MAX_RELEASES],
        evaluation=_evaluation(connection, name, number),
        requirements=_statement(connection, name),
    )


def _versions(connection: Connection, name: str, number: int) -> list[_Version]:
    """The newest versions that may be called, from the newest on, and ``number`` if it is one."""
    query: sa.Select[tuple[object, ...]] = (
        sa.select(
            versions.c.number,
            versions.c.digest,
            versions.c.manifest,
            versions.c.state,
            versions.c.created_at,
            versions.c.deprecation,
        )
        .where(versions.c.model == name, versions.c.state.in_(CALLABLE_STATES))
        .order_by(versions.c.number.desc())
    )
    rows = list(connection.execute(query.limit(MAX_RELEASES + 1)))
    if all(row.number != number for row in rows):
        rows += list(connection.execute(query.where(versions.c.number == number)))
    return [
        _Version(row.number, row.digest, msgspec.json.decode(row.manifest, type=Manifest), row)
        for row in rows
    ]


def _release(
    version: _Version, before: _Version | None, stable: int | None, quality: Quality | None
) -> Release:
    row = version.row
    ending = (
        None
        if row.deprecation is None
        else DeprecationOutput.of(msgspec.json.decode(row.deprecation, type=DeprecationDoc))
    )
    return Release(
        number=version.number,
        state=row.state,
        stable=version.number == stable,
        created_at=rfc3339(row.created_at),
        description=version.manifest.description,
        deprecation=ending,
        quality=quality,
        changes=[] if before is None else changes(before.manifest, version.manifest),
    )


def _public(manifest: Manifest) -> Manifest:
    """What a caller needs to know: not where bytes are kept, or which server answers."""
    return msgspec.structs.replace(manifest, artifact=None, remote=UNSET, files=(), golden=None)


def _evaluation(connection: Connection, name: str, number: int) -> Evaluation | None:
    query = (
        sa.select(evidence.c.document, evidence.c.created_at)
        .where(evidence.c.model == name, evidence.c.number == number)
        .order_by(evidence.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    given = msgspec.json.decode(row.document, type=Evidence)
    ranked = sorted(given.importance, key=lambda one: -one.mean)
    kept = msgspec.structs.replace(
        given,
        classes=given.classes[:MAX_PARTS],
        segments=given.segments[:MAX_PARTS],
        importance=tuple(ranked[:MAX_PARTS]),
    )
    return Evaluation.model_validate(
        msgspec.to_builtins(kept) | {"created_at": rfc3339(row.created_at)}
    )


def _statement(connection: Connection, name: str) -> Statement | None:
    record = requirements_store.present(connection, name)
    if record is None:
        return None
    given = record.requirements
    return Statement(
        problem=given.problem,
        answerable=given.owner,
        criteria=list(given.criteria),
        constraints=ConstraintsOutput.of(given.constraints),
        contract=ContractOutput.of(given.contract),
        segments=given.segments,
    )
