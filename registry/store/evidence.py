"""SQL of evidence. Rows are added and read, never changed: there is no other statement here."""

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protocol.evidence import Evidence, evidence_digest
from protocol.manifest import sha256_digest
from registry.store.tables import evidence


class EvidenceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation of a version as stored."""

    id: int
    digest: str
    evidence: Evidence
    created_at: int
    created_by: str


def insert(connection: Connection, given: Evidence, *, actor: str, at: int) -> EvidenceRecord:
    """Add evidence. The caller holds the version's lock and has found that it is not there."""
    canonical = given.canonical()
    row = {
        "model": given.model,
        "number": given.version,
        "digest": sha256_digest(canonical),
        "document": canonical.decode(),
        "created_at": at,
        "created_by": actor,
    }
    inserted = sa.insert(evidence).values(row).returning(evidence.c.id)
    return EvidenceRecord(
        id=int(connection.execute(inserted).scalar_one()),
        digest=str(row["digest"]),
        evidence=given,
        created_at=at,
        created_by=actor,
    )


def get(connection: Connection, model: str, number: int, digest: str) -> EvidenceRecord | None:
    """The evidence of that digest, or None."""
    query = _of(model, number).where(evidence.c.digest == digest)
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def page(
    connection: Connection,
    model: str,
    number: int,
    after: int,
    limit: int,
    *,
    newest_first: bool = False,
) -> list[EvidenceRecord]:
    """At most ``limit`` of the version's evaluations, oldest first, from the one after; or newest
    first, where an ``after`` of 0 is before all."""
    query = _of(model, number).limit(limit)
    if newest_first:
        query = query.order_by(None).order_by(evidence.c.id.desc())
        query = query.where(evidence.c.id < after) if after else query
    else:
        query = query.where(evidence.c.id > after)
    return [_record(row) for row in connection.execute(query)]


def count(connection: Connection, model: str, number: int) -> int:
    """How many evaluations the version has."""
    query = sa.select(sa.func.count()).select_from(evidence)
    found = connection.execute(
        query.where(evidence.c.model == model, evidence.c.number == number)
    ).scalar_one()
    return int(found)


def ids(connection: Connection, model: str, number: int) -> list[int]:
    """Of every evaluation of the version, oldest first."""
    query = _of(model, number).with_only_columns(evidence.c.id)
    return list(connection.execute(query).scalars())


def document(connection: Connection, id: int) -> bytes:
    """The evidence as it is stored."""
    query = sa.select(evidence.c.document).where(evidence.c.id == id)
    return str(connection.execute(query).scalar_one()).encode()


def digest_of(connection: Connection, model: str, number: int) -> str:
    """What stands for all the evidence that the version has now, by
    :func:`protocol.evidence.evidence_digest`.

    It is taken of the documents themselves, not of the digests beside them: a document that was
    tampered with is not what was approved.
    """
    # In no order: sorting would move every document about.
    query = _of(model, number).with_only_columns(evidence.c.document).order_by(None)
    documents = connection.execute(query.execution_options(yield_per=8)).scalars()
    return evidence_digest([sha256_digest(one.encode()) for one in documents])


def _of(model: str, number: int) -> sa.Select[tuple[object, ...]]:
    this = (evidence.c.model == model, evidence.c.number == number)
    return sa.select(evidence).where(*this).order_by(evidence.c.id)


def _record(row: sa.Row[tuple[object, ...]]) -> EvidenceRecord:
    return EvidenceRecord(
        id=row.id,
        digest=row.digest,
        evidence=msgspec.json.decode(row.document, type=Evidence),
        created_at=row.created_at,
        created_by=row.created_by,
    )
