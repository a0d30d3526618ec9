"""SQL of versions."""

from collections.abc import Iterator
from typing import Any, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protocol.configuration import (
    CALLABLE_STATES,
    FINAL_STATES,
    DeprecationDoc,
    VersionDoc,
    VersionState,
)
from protocol.manifest import Manifest, canonical_json, sha256_digest
from protocol.seals import Grounds, Seal, encoded_digest
from registry.store import audit
from registry.store import transitions as history
from registry.store.changes import append
from registry.store.sealing import changed_past_this_server, sealer_of
from registry.store.tables import transitions, version_blobs, versions


class VersionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A version as stored."""

    model: str
    number: int
    digest: str
    manifest: Manifest
    state: VersionState
    loaded: bool
    created_at: int
    created_by: str
    idempotency_key: str | None = None
    request_digest: str | None = None
    deprecation: DeprecationDoc | None = None
    """Of versions that are deprecated or retired."""
    seal: Seal | None = None
    """Made when the record is written; None: from before there were seals."""


class VersionStanding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the audit log keeps of a version: ``digest`` stands for its whole manifest."""

    digest: str
    state: VersionState
    loaded: bool
    deprecation: DeprecationDoc | None = None


def standing(record: VersionRecord) -> VersionStanding:
    """How the version stands now."""
    return VersionStanding(
        digest=record.digest,
        state=record.state,
        loaded=record.loaded,
        deprecation=record.deprecation,
    )


def next_number(connection: Connection, model: str) -> int:
    """One more than the highest number. Another transaction may see the same: the key decides."""
    query = sa.select(sa.func.max(versions.c.number)).where(versions.c.model == model)
    return int(connection.execute(query).scalar() or 0) + 1


def insert(connection: Connection, record: VersionRecord, manifest_json: bytes) -> VersionRecord:
    """Add a version, sealed, and its blob references. Raises ``AlreadyThere`` when the number
    or the idempotency key is taken."""
    record = _sealed(connection, record, Grounds(), encoded_digest(record.manifest))
    row = msgspec.structs.asdict(record) | {
        "manifest": manifest_json.decode(),
        "deprecation": _text(record.deprecation),
        "seal": _text(record.seal),
    }
    connection.execute(sa.insert(versions).values(row))
    references = [
        {
            "model": record.model,
            "number": record.number,
            "role": role,
            "path": blob.path,
            "digest": blob.digest,
        }
        for role, blob in record.manifest.blobs()
    ]
    if references:
        connection.execute(sa.insert(version_blobs), references)
    history.record(
        connection,
        record.model,
        record.number,
        digest=record.digest,
        from_state=None,
        to_state=record.state,
        actor=record.created_by,
        reason="",
        at=record.created_at,
    )
    announce(connection, record)
    return record


def get(
    connection: Connection, model: str, number: int, *, lock: bool = False
) -> VersionRecord | None:
    """The version, or None; with ``lock``, held against other writers."""
    query = sa.select(versions).where(versions.c.model == model, versions.c.number == number)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else version_record(row)


def gone(connection: Connection, model: str) -> set[int]:
    """Numbers of the versions to which no call will ever go again."""
    query = sa.select(versions.c.number).where(
        versions.c.model == model, versions.c.state.in_(FINAL_STATES)
    )
    return set(connection.execute(query).scalars())


def by_idempotency_key(
    connection: Connection, model: str, actor: str, key: str
) -> VersionRecord | None:
    """The version that ``actor`` registered under ``key``, or None."""
    query = sa.select(versions).where(
        versions.c.model == model,
        versions.c.created_by == actor,
        versions.c.idempotency_key == key,
    )
    row = connection.execute(query).first()
    return None if row is None else version_record(row)


def page(
    connection: Connection, model: str, after: int, limit: int, *, callable_only: bool = False
) -> list[VersionRecord]:
    """At most ``limit`` versions in order of their numbers, from the one following ``after``."""
    query = (
        sa.select(versions)
        .where(versions.c.model == model, versions.c.number > after)
        .order_by(versions.c.number)
        .limit(limit)
    )
    if callable_only:
        query = query.where(versions.c.state.in_(CALLABLE_STATES))
    return [version_record(row) for row in connection.execute(query)]


def ending(connection: Connection, model: str) -> list[VersionRecord]:
    """The model's versions that are deprecated or retired, by number."""
    query = (
        sa.select(versions)
        .where(versions.c.model == model, versions.c.deprecation.is_not(None))
        .order_by(versions.c.number)
    )
    return [version_record(row) for row in connection.execute(query)]


def has_seals(connection: Connection) -> bool:
    """Whether any version has a seal."""
    query = sa.select(versions.c.number).where(versions.c.seal.is_not(None)).limit(1)
    return connection.execute(query).first() is not None


def all_of(connection: Connection) -> Iterator[VersionRecord]:
    """Every version of every model."""
    for row in connection.execute(sa.select(versions).execution_options(yield_per=100)):
        yield version_record(row)


def going_on(connection: Connection, model: str, limit: int) -> list[Manifest]:
    """Manifests of the model's newest versions that have not ended, at most ``limit``."""
    query = (
        sa.select(versions.c.manifest)
        .where(versions.c.model == model, versions.c.state.not_in(FINAL_STATES))
        .order_by(versions.c.number.desc())
        .limit(limit)
    )
    found = connection.execute(query).scalars()
    return [msgspec.json.decode(text, type=Manifest) for text in found]


def in_state(connection: Connection, state: VersionState) -> list[VersionRecord]:
    """Every version in ``state``, by model and number."""
    query = sa.select(versions).where(versions.c.state == state)
    ordered = query.order_by(versions.c.model, versions.c.number)
    return [version_record(row) for row in connection.execute(ordered)]


def set_state(
    connection: Connection,
    record: VersionRecord,
    *,
    state: VersionState,
    loaded: bool,
    deprecation: DeprecationDoc | None = None,
    grounds: Grounds | None = None,
) -> VersionRecord:
    """Write the columns that change, sealed, and announce; a deprecation of None stays what it was.
    The caller holds the version's lock.

    ``grounds``: why it may take the state; None: those that it had. Raises ``CONFLICT`` when what
    is stored is not what was sealed, or what was sealed last: a new seal must not make it good.
    """
    seal = check_genuine(connection, record)
    known = deprecation or record.deprecation
    changed = msgspec.structs.replace(record, state=state, loaded=loaded, deprecation=known)
    # Not of the manifest as it is stored now: only its first writer knows that it is the one.
    changed = _sealed(connection, changed, grounds or seal.grounds, seal.encoded)
    _write(connection, changed)
    return changed


def check_genuine(connection: Connection, record: VersionRecord) -> Seal:
    """The seal of a record that is what this server wrote last. Raises ``CONFLICT`` for another:
    gateways would not route to it."""
    seal = record.seal
    sealer_of(connection).check(record.model, record.number, record.digest, record.state, seal)
    assert seal is not None
    doubt = contradiction(connection, record)
    manifest = record.manifest
    # Another release may encode it in another way: then its canonical form decides.
    if (
        encoded_digest(manifest) != seal.encoded
        and sha256_digest(canonical_json(manifest)) != record.digest
    ):
        doubt = "has another manifest than the one that was sealed"
    if doubt is not None:
        raise changed_past_this_server(record.model, record.number, doubt)
    return seal


def contradiction(connection: Connection, record: VersionRecord) -> str | None:
    """What the version's history, or the audit log, says other than its record; None where they
    agree. An earlier record with its seal is genuine, and is not what the version is now.

    The history tells every step since the registration; the audit log those since there is one.
    """
    newest = history.newest_state(connection, record.model, record.number)
    if newest != record.state:
        return f"is {newest or 'nothing'} by its history, not {record.state}"
    entry = audit.newest_after(connection, "version", f"{record.model}/{record.number}")
    if entry is None:
        return None
    said = msgspec.json.decode(entry, type=VersionStanding)
    if (said.digest, said.state) != (record.digest, record.state):
        return f"is {said.state} with digest {said.digest} by the audit log"
    return None


def set_seal(connection: Connection, record: VersionRecord, grounds: Grounds) -> VersionRecord:
    """Seal a version as it is stored, and announce. The caller holds the version's lock, and knows
    that the record is genuine."""
    changed = _sealed(connection, record, grounds, encoded_digest(record.manifest))
    _write(connection, changed)
    return changed


def _sealed(
    connection: Connection, record: VersionRecord, grounds: Grounds, encoded: str
) -> VersionRecord:
    sealer = sealer_of(connection)
    seal = sealer.seal(record.model, record.number, record.digest, record.state, grounds, encoded)
    return msgspec.structs.replace(record, seal=seal)


def _write(connection: Connection, record: VersionRecord) -> None:
    values = {
        "state": record.state,
        "loaded": record.loaded,
        "deprecation": _text(record.deprecation),
        "seal": _text(record.seal),
    }
    connection.execute(
        sa.update(versions)
        .where(versions.c.model == record.model, versions.c.number == record.number)
        .values(values)
    )
    announce(connection, record)


def retired_before(connection: Connection, before: int) -> list[tuple[str, int]]:
    """(model, number) of the versions that were retired at or before that time and still need
    blobs."""
    query = (
        sa.select(versions.c.model, versions.c.number)
        .join(
            transitions,
            sa.and_(
                transitions.c.model == versions.c.model,
                transitions.c.number == versions.c.number,
                transitions.c.to_state == "retired",
            ),
        )
        .where(
            versions.c.state == "retired",
            transitions.c.at <= before,
            sa.exists().where(
                version_blobs.c.model == versions.c.model,
                version_blobs.c.number == versions.c.number,
            ),
        )
        .order_by(versions.c.model, versions.c.number)
    )
    return [(row.model, row.number) for row in connection.execute(query)]


def release_blobs(connection: Connection, model: str, number: int) -> list[str]:
    """Let the version need its blobs no more. Returns their digests; none when it needed none."""
    removed = sa.delete(version_blobs).where(
        version_blobs.c.model == model, version_blobs.c.number == number
    )
    return sorted(set(connection.execute(removed.returning(version_blobs.c.digest)).scalars()))


def announce(connection: Connection, record: VersionRecord) -> None:
    """Put the version's document on the change stream."""
    append(connection, "version", f"{record.model}/{record.number}", version_document(record))


def version_document(record: VersionRecord) -> VersionDoc:
    """The version as gateways and workers see it."""
    return VersionDoc(
        model=record.model,
        number=record.number,
        digest=record.digest,
        state=record.state,
        loaded=record.loaded,
        manifest=record.manifest,
        deprecation=record.deprecation,
        seal=record.seal,
    )


def version_record(row: sa.Row[tuple[Any, ...]]) -> VersionRecord:
    """From a row of the table."""
    return VersionRecord(
        model=row.model,
        number=row.number,
        digest=row.digest,
        manifest=msgspec.json.decode(row.manifest, type=Manifest),
        state=cast("VersionState", row.state),
        loaded=row.loaded,
        created_at=row.created_at,
        created_by=row.created_by,
        idempotency_key=row.idempotency_key,
        request_digest=row.request_digest,
        deprecation=None
        if row.deprecation is None
        else msgspec.json.decode(row.deprecation, type=DeprecationDoc),
        seal=None if row.seal is None else msgspec.json.decode(row.seal, type=Seal),
    )


def _text(part: msgspec.Struct | None) -> str | None:
    return None if part is None else msgspec.json.encode(part).decode()
