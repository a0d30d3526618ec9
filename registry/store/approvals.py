"""SQL of approvals. Rows are added and read, never changed: there is no other statement here."""

from typing import Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from registry.store.tables import approvals

Decision = Literal["approve", "refuse"]


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """What a sponsor decided of a version, and of what exactly."""

    model: str
    number: int
    decision: Decision
    reason: str
    actor: str
    at: int
    manifest: str
    """Digest of the version's manifest."""
    evidence: str
    """What stood for all of its evidence then."""
    requirements: int
    """Version of the model's requirements."""
    requirements_digest: str
    signer: str = ""
    signature: str = ""
    id: int = 0
    """By the database."""


def insert(connection: Connection, approval: Approval) -> Approval:
    """Add a decision."""
    row = msgspec.structs.asdict(approval)
    del row["id"]
    added = sa.insert(approvals).values(row).returning(approvals.c.id)
    return msgspec.structs.replace(approval, id=int(connection.execute(added).scalar_one()))


def newest(connection: Connection, model: str, number: int) -> Approval | None:
    """The decision that counts; None where there is none."""
    query = _of(model, number).order_by(approvals.c.id.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else _record(row)


def page(connection: Connection, model: str, number: int, after: int, limit: int) -> list[Approval]:
    """At most ``limit`` decisions, oldest first, from the one following ``after``."""
    query = _of(model, number).where(approvals.c.id > after).order_by(approvals.c.id).limit(limit)
    return [_record(row) for row in connection.execute(query)]


def _of(model: str, number: int) -> sa.Select[tuple[object, ...]]:
    return sa.select(approvals).where(approvals.c.model == model, approvals.c.number == number)


def _record(row: sa.Row[tuple[object, ...]]) -> Approval:
    return msgspec.convert(row._mapping, Approval)
