"""The audit log: every change commits with an entry here, in the same transaction.

Entries form a chain: each holds the SHA-256 of its own canonical JSON (RFC 8785), and that holds
the hash of the entry before it, so that none can be edited, removed or moved without a trace.
"""

import hashlib
from collections.abc import Mapping

import msgspec
import rfc8785
import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from registry.acting import acting
from registry.store.database import metadata

GENESIS = "0" * 64
"""What stands where the first entry would have an earlier one's hash."""

State = msgspec.Struct | BaseModel | Mapping[str, object]
"""What a resource was or is, as the API shows it. Never holds a secret."""

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("request_id", sa.String(128), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("key", sa.String(255), nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index("ix_audit_kind_key_seq", "kind", "key", "seq"),
)
"""``before`` and ``after``: JSON of the resource, null where there is none."""

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)
"""One row. Its lock orders writers, so that the chain has no forks."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the log, without its own hash."""

    seq: int
    at_ms: int
    actor: str
    role: str
    address: str
    request_id: str
    reason: str
    action: str
    """``KIND.VERB`` in the past tense: ``key.created``, ``alias.moved``."""
    kind: str
    key: str
    before: str | None
    after: str | None
    previous: str


def entry_hash(entry: Entry) -> str:
    """SHA-256 of the entry's canonical JSON, hex."""
    return hashlib.sha256(rfc8785.dumps(msgspec.to_builtins(entry))).hexdigest()


def initialise(connection: Connection) -> None:
    """Make the head's one row, if it is not there yet."""
    if connection.execute(sa.select(audit_head.c.id)).first() is None:
        connection.execute(sa.insert(audit_head).values(id=1, seq=0, hash=GENESIS))


def record(
    connection: Connection,
    action: str,
    kind: str,
    key: str,
    *,
    at_ms: int,
    before: State | None = None,
    after: State | None = None,
    reason: str = "",
) -> int:
    """Add an entry within the caller's transaction, on behalf of :func:`acting`. Returns its seq.

    ``reason`` overrides the one that came with the request.
    """
    # Taking the number locks the head's row until the transaction ends.
    head = connection.execute(
        sa.update(audit_head)
        .where(audit_head.c.id == 1)
        .values(seq=audit_head.c.seq + 1)
        .returning(audit_head.c.seq, audit_head.c.hash)
    ).one()
    origin = acting()
    entry = Entry(
        seq=head.seq,
        at_ms=at_ms,
        actor=origin.actor,
        role=origin.role,
        address=origin.address,
        request_id=origin.request_id,
        reason=reason or origin.reason,
        action=action,
        kind=kind,
        key=key,
        before=_json(before),
        after=_json(after),
        previous=head.hash,
    )
    hash = entry_hash(entry)
    connection.execute(sa.insert(audit).values(**msgspec.structs.asdict(entry), hash=hash))
    connection.execute(sa.update(audit_head).where(audit_head.c.id == 1).values(hash=hash))
    return entry.seq


def _json(state: State | None) -> str | None:
    if state is None:
        return None
    if isinstance(state, BaseModel):
        return msgspec.json.encode(state.model_dump(mode="json")).decode()
    return msgspec.json.encode(state).decode()
