"""The audit log: every change commits with an entry here, in the same transaction.

What an entry is and how entries are chained: ``registry.chain``. The database refuses to update or
delete them, so that an accident cannot; verification does not rely on that.

The order of locks, everywhere: first the rows of the resources, then, in one step, the logs.
Whoever appends to the change stream or to this log holds the stream's row until the transaction
ends (``changes.hold``), and no transaction locks a resource's row after that.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from registry.acting import acting
from registry.chain import GENESIS, Entry, entry_hash
from registry.store import audit_guard, changes
from registry.store.database import metadata

_GATHERED: Final = "tollway_gathered_entries"
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
    sa.Index("ix_audit_actor_seq", "actor", "seq"),
)
"""``before`` and ``after``: JSON of the resource, null where there is none."""

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)
"""One row: where the log ends."""

audit_checkpoints = sa.Table(
    "audit_checkpoints",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("signer", sa.String(16), nullable=False),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("signature", sa.String(128), nullable=False),
)
"""Signed statements of where the log ended: ``registry.checkpoint``."""

audit_guard.on_creation(audit)
audit_guard.on_creation(audit_checkpoints)


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

    ``reason`` overrides the one that came with the request. Take every lock on rows of resources
    before the first call.
    """
    waiting: _Gathered | None = connection.info.get(_GATHERED)
    seq, previous = _head(connection) if waiting is None else waiting.head(connection)
    origin = acting()
    entry = Entry(
        seq=seq + 1,
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
        previous=previous,
    )
    row = {**msgspec.structs.asdict(entry), "hash": entry_hash(entry)}
    if waiting is None:
        _write(connection, [row])
    else:
        waiting.rows.append(row)
    return entry.seq


class _Gathered:
    """Entries of a transaction that are not written yet."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._written: tuple[int, str] | None = None

    def head(self, connection: Connection) -> tuple[int, str]:
        """Where the log ends, these entries included."""
        if self.rows:
            return self.rows[-1]["seq"], self.rows[-1]["hash"]
        if self._written is None:
            self._written = _head(connection)
        return self._written


@contextmanager
def gathered(connection: Connection) -> Iterator[None]:
    """Write the entries, and the changes, of the block at its end; none when it raises.

    For a transaction that makes many: :func:`record` and :func:`changes.append` work as ever
    within it.
    """
    found = connection.info[_GATHERED] = _Gathered()
    try:
        with changes.gathered(connection):
            yield
        if found.rows:
            _write(connection, found.rows)
    finally:
        del connection.info[_GATHERED]


def _head(connection: Connection) -> tuple[int, str]:
    # Held until the transaction ends: the chain has no forks, and there is one order of locks.
    changes.hold(connection)
    head = connection.execute(sa.select(audit_head).where(audit_head.c.id == 1)).one()
    return head.seq, head.hash


def _write(connection: Connection, rows: list[dict[str, Any]]) -> None:
    connection.execute(sa.insert(audit), rows)
    last = {"seq": rows[-1]["seq"], "hash": rows[-1]["hash"]}
    connection.execute(sa.update(audit_head).where(audit_head.c.id == 1).values(last))


def newest_after(connection: Connection, kind: str, key: str) -> bytes | None:
    """The ``after`` of the newest entry that says what this resource is; None where there is
    none."""
    waiting: _Gathered | None = connection.info.get(_GATHERED)
    for row in reversed(waiting.rows if waiting is not None else []):
        if (row["kind"], row["key"]) == (kind, key) and row["after"] is not None:
            return str(row["after"]).encode()
    query = (
        sa.select(audit.c.after)
        .where(audit.c.kind == kind, audit.c.key == key, audit.c.after.is_not(None))
        .order_by(audit.c.seq.desc())
        .limit(1)
    )
    found = connection.execute(query).scalar()
    return None if found is None else found.encode()


def _json(state: State | None) -> str | None:
    if state is None:
        return None
    if isinstance(state, BaseModel):
        return msgspec.json.encode(state.model_dump(mode="json")).decode()
    return msgspec.json.encode(state).decode()
