"""SQL of versions and their transitions."""

from typing import cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protocol.configuration import CALLABLE_STATES, VersionDoc, VersionState
from protocol.manifest import Manifest
from registry.store.changes import append
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


class VersionStanding(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit log keeps of a version: ``digest`` stands for its whole manifest."""

    digest: str
    state: VersionState
    loaded: bool


class TransitionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One step in a version's life. ``from_state`` is None for its registration."""

    id: int
    from_state: str | None
    to_state: str
    actor: str
    reason: str
    digest: str
    at: int


def standing(record: VersionRecord) -> VersionStanding:
    """How the version stands now."""
    return VersionStanding(digest=record.digest, state=record.state, loaded=record.loaded)


def next_number(connection: Connection, model: str) -> int:
    """One more than the highest number. Another transaction may see the same: the key decides."""
    query = sa.select(sa.func.max(versions.c.number)).where(versions.c.model == model)
    return int(connection.execute(query).scalar() or 0) + 1


def insert(connection: Connection, record: VersionRecord, manifest_json: bytes) -> None:
    """Add a version and its blob references. Raises ``AlreadyThere`` when the number
    or the idempotency key is taken."""
    row = msgspec.structs.asdict(record) | {"manifest": manifest_json.decode()}
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
    record_transition(
        connection,
        record,
        from_state=None,
        to_state=record.state,
        actor=record.created_by,
        reason="",
        at=record.created_at,
    )
    announce(connection, record)


def get(
    connection: Connection, model: str, number: int, *, lock: bool = False
) -> VersionRecord | None:
    """The version, or None; with ``lock``, held against other writers."""
    query = sa.select(versions).where(versions.c.model == model, versions.c.number == number)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else _record(row)


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
    return None if row is None else _record(row)


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
    return [_record(row) for row in connection.execute(query)]


def set_state(
    connection: Connection, record: VersionRecord, *, state: VersionState, loaded: bool
) -> VersionRecord:
    """Write the two columns that change, and announce. The caller holds the version's lock."""
    changed = msgspec.structs.replace(record, state=state, loaded=loaded)
    connection.execute(
        sa.update(versions)
        .where(versions.c.model == record.model, versions.c.number == record.number)
        .values(state=state, loaded=loaded)
    )
    announce(connection, changed)
    return changed


def record_transition(
    connection: Connection,
    record: VersionRecord,
    *,
    from_state: str | None,
    to_state: str,
    actor: str,
    reason: str,
    at: int,
) -> None:
    """Add a row to the version's history."""
    row = {
        "model": record.model,
        "number": record.number,
        "from_state": from_state,
        "to_state": to_state,
        "actor": actor,
        "reason": reason,
        "digest": record.digest,
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


def announce(connection: Connection, record: VersionRecord) -> None:
    """Put the version's document on the change stream."""
    doc = VersionDoc(
        model=record.model,
        number=record.number,
        digest=record.digest,
        state=record.state,
        loaded=record.loaded,
        manifest=record.manifest,
    )
    append(connection, "version", f"{record.model}/{record.number}", doc)


def _record(row: sa.Row[tuple[object, ...]]) -> VersionRecord:
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
    )
