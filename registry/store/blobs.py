"""SQL of blobs: which are present, which are referenced, which garbage collection has marked.

Statements that decide on a blob lock its row first and look at references in a second statement:
on PostgreSQL a statement that waited for a row lock still sees other tables as they were before.
"""

from collections.abc import Collection, Iterable

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from registry.store.tables import blob_holders, blobs, version_blobs

PRESENT = "present"
DAMAGED = "damaged"
"""The integrity scan found its bytes missing or wrong; uploading them again heals it."""
SWEEPING = "sweeping"


class BlobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A blob's row."""

    digest: str
    size: int
    state: str
    created_at: int
    marked_at: int | None


def get(connection: Connection, digest: str) -> BlobRecord | None:
    """The blob, or None when there is none that can be relied on."""
    query = sa.select(blobs).where(blobs.c.digest == digest, blobs.c.state == PRESENT)
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def digests(connection: Connection) -> set[str]:
    """Every digest that is known at all, in whatever state."""
    return set(connection.execute(sa.select(blobs.c.digest)).scalars())


def lock(connection: Connection, digests: Iterable[str]) -> dict[str, BlobRecord]:
    """Hold the rows of ``digests`` until the transaction ends, in one order so that holders cannot
    wait for each other in a circle. Returns those that exist, in whatever state."""
    query = (
        sa.select(blobs)
        .where(blobs.c.digest.in_(sorted(set(digests))))
        .order_by(blobs.c.digest)
        .with_for_update(key_share=True)
    )
    return {row.digest: _record(row) for row in connection.execute(query)}


def ensure(connection: Connection, digest: str, size: int, at: int) -> None:
    """Make the row if there is none, waiting for whoever is deleting it.

    It is made as one that is being swept: nobody relies on it until :func:`set_present`.
    """
    row = {"digest": digest, "size": size, "state": SWEEPING, "created_at": at}
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(blobs).values(row).on_conflict_do_nothing())


def set_present(connection: Connection, digest: str, size: int) -> None:
    """The bytes are there. Takes back a mark, and a sweep that has not deleted them yet."""
    connection.execute(
        sa.update(blobs)
        .where(blobs.c.digest == digest)
        .values(state=PRESENT, size=size, marked_at=None)
    )


def unmark(connection: Connection, digests: Iterable[str]) -> None:
    """Start the grace period of ``digests`` anew. The caller holds their locks."""
    connection.execute(
        sa.update(blobs).where(blobs.c.digest.in_(list(digests))).values(marked_at=None)
    )


def is_referenced(connection: Connection, digest: str) -> bool:
    """Whether any version needs the blob."""
    query = sa.select(version_blobs.c.digest).where(version_blobs.c.digest == digest).limit(1)
    return connection.execute(query).first() is not None


def add_holder(connection: Connection, digest: str, holder: str) -> None:
    """Note that ``holder`` has brought the bytes. The caller holds the blob's lock."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = {"digest": digest, "holder": holder}
    connection.execute(insert(blob_holders).values(row).on_conflict_do_nothing())


def readable(
    connection: Connection, digests: Collection[str], holder: str, models: Collection[str]
) -> set[str]:
    """Those of ``digests`` that ``holder`` has brought, or that a version of ``models`` needs."""
    wanted = sorted(digests)
    brought = sa.select(blob_holders.c.digest).where(
        blob_holders.c.holder == holder, blob_holders.c.digest.in_(wanted)
    )
    needed = sa.select(version_blobs.c.digest).where(
        version_blobs.c.digest.in_(wanted), version_blobs.c.model.in_(sorted(models))
    )
    return set(connection.execute(brought.union(needed)).scalars())


def mark_unreferenced(connection: Connection, at: int) -> int:
    """Mark what no version needs and is not marked yet. Returns how many."""
    needed = sa.exists().where(version_blobs.c.digest == blobs.c.digest)
    result = connection.execute(
        sa.update(blobs)
        .where(blobs.c.state != SWEEPING, blobs.c.marked_at.is_(None), ~needed)
        .values(marked_at=at)
    )
    return result.rowcount


def set_marked(connection: Connection, digest: str, at: int) -> None:
    """Mark one blob. The caller holds its lock."""
    connection.execute(sa.update(blobs).where(blobs.c.digest == digest).values(marked_at=at))


def set_state(connection: Connection, digest: str, state: str) -> None:
    """Write the state. Nobody may rely on a blob that is not present. The caller holds its lock."""
    connection.execute(sa.update(blobs).where(blobs.c.digest == digest).values(state=state))


def marked_before(connection: Connection, before: int) -> list[str]:
    """Digests marked at or before that time, and those whose sweep was interrupted."""
    query = sa.select(blobs.c.digest).where(
        sa.or_(blobs.c.marked_at <= before, blobs.c.state == SWEEPING)
    )
    return list(connection.execute(query.order_by(blobs.c.digest)).scalars())


def delete(connection: Connection, digest: str) -> None:
    """Remove the row."""
    connection.execute(sa.delete(blob_holders).where(blob_holders.c.digest == digest))
    connection.execute(sa.delete(blobs).where(blobs.c.digest == digest))


def page(connection: Connection, after: str, limit: int) -> list[BlobRecord]:
    """At most ``limit`` blobs that are not being swept, by digest, from the one following
    ``after``."""
    query = (
        sa.select(blobs)
        .where(blobs.c.digest > after, blobs.c.state != SWEEPING)
        .order_by(blobs.c.digest)
        .limit(limit)
    )
    return [_record(row) for row in connection.execute(query)]


def versions_needing(connection: Connection, digest: str) -> list[tuple[str, int]]:
    """(model, number) of every version that needs the blob."""
    query = (
        sa.select(version_blobs.c.model, version_blobs.c.number)
        .where(version_blobs.c.digest == digest)
        .distinct()
        .order_by(version_blobs.c.model, version_blobs.c.number)
    )
    return [(row.model, row.number) for row in connection.execute(query)]


def _record(row: sa.Row[tuple[object, ...]]) -> BlobRecord:
    return BlobRecord(
        digest=row.digest,
        size=row.size,
        state=row.state,
        created_at=row.created_at,
        marked_at=row.marked_at,
    )
