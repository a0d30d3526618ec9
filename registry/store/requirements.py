"""SQL of requirements. Rows are added and read, never changed: there is no other statement here."""

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protocol.manifest import sha256_digest
from protocol.requirements import Requirements
from registry.store.tables import requirements


class RequirementsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model's requirements as stored."""

    model: str
    number: int
    digest: str
    """Of the document itself, not the digest stored beside it: what was tampered with is not what
    was agreed on."""
    requirements: Requirements
    created_at: int
    created_by: str


def insert(
    connection: Connection, model: str, number: int, given: Requirements, *, actor: str, at: int
) -> RequirementsRecord:
    """Add a version. The caller holds the model's lock, and ``number`` follows the present one."""
    document = given.canonical()
    row = {
        "model": model,
        "number": number,
        "digest": sha256_digest(document),
        "document": document.decode(),
        "created_at": at,
        "created_by": actor,
    }
    connection.execute(sa.insert(requirements).values(row))
    return RequirementsRecord(
        model=model,
        number=number,
        digest=str(row["digest"]),
        requirements=given,
        created_at=at,
        created_by=actor,
    )


def present(connection: Connection, model: str) -> RequirementsRecord | None:
    """The version that holds now; None when the model has no requirements."""
    query = _of(model).order_by(requirements.c.number.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def get(connection: Connection, model: str, number: int) -> RequirementsRecord | None:
    """The version of this number, or None."""
    row = connection.execute(_of(model).where(requirements.c.number == number)).first()
    return None if row is None else _record(row)


def page(connection: Connection, model: str, after: int, limit: int) -> list[RequirementsRecord]:
    """At most ``limit`` versions, oldest first, from the one following ``after``."""
    query = _of(model).where(requirements.c.number > after)
    rows = connection.execute(query.order_by(requirements.c.number).limit(limit))
    return [_record(row) for row in rows]


def _of(model: str) -> sa.Select[tuple[object, ...]]:
    return sa.select(requirements).where(requirements.c.model == model)


def _record(row: sa.Row[tuple[object, ...]]) -> RequirementsRecord:
    return RequirementsRecord(
        model=row.model,
        number=row.number,
        digest=sha256_digest(row.document.encode()),
        requirements=msgspec.json.decode(row.document, type=Requirements),
        created_at=row.created_at,
        created_by=row.created_by,
    )
