"""The change log: every change commits with a row here, in the same transaction.

The newest row of each (kind, key) is the present document, so the log is also the snapshot that a
new follower starts from. Compaction drops superseded rows; a reader that is behind the compaction
starts over.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protocol.configuration import DELETED, Change, ChangePage
from registry.store.database import metadata

PAGE_ROWS = 1000
PAGE_BYTES = 4 << 20
"""Documents in a page have at most this many bytes, or there is only one: a follower and control
both hold a page whole."""
_FETCHED_ROWS = 50
_GATHERED: Final = "tollway_gathered_changes"

changes = sa.Table(
    "changes",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("key", sa.String(255), nullable=False),
    sa.Column("doc", sa.Text),
    sa.Index("ix_changes_kind_key_seq", "kind", "key", "seq"),
)

change_stream = sa.Table(
    "change_stream",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("stream", sa.String(32), nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("compacted", sa.BigInteger, nullable=False),
)
"""One row. Its lock orders writers, so that numbers become visible in their order."""


def hold(connection: Connection) -> None:
    """Hold the stream's row until the transaction ends: one writer to the logs at a time.

    Changes and audit entries are both written under this one lock, so it makes no difference which
    of them a transaction writes first. Rows of resources are locked before it, never after.
    """
    if connection.dialect.name != "sqlite":  # there a writer has the whole database
        query = sa.select(change_stream.c.id).where(change_stream.c.id == 1)
        connection.execute(query.with_for_update(key_share=True))


class _Gathered:
    """Changes of a transaction that are not written yet."""

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.rows: list[dict[str, object]] = []
        self.newest: dict[tuple[str, str], str | None] = {}


@contextmanager
def gathered(connection: Connection) -> Iterator[None]:
    """Write the changes of the block at its end, all at once; none when it raises.

    For a transaction that makes many: :func:`append` and :func:`newest` work as ever within it.
    """
    connection.info[_GATHERED] = None
    try:
        yield
        found: _Gathered | None = connection.info[_GATHERED]
        if found is not None:
            connection.execute(sa.insert(changes), found.rows)
            head = sa.update(change_stream).where(change_stream.c.id == 1)
            connection.execute(head.values(seq=found.seq))
    finally:
        del connection.info[_GATHERED]


def _gathering(connection: Connection) -> _Gathered:
    """What this transaction gathers; from the first change on it holds the stream's row."""
    found: _Gathered | None = connection.info[_GATHERED]
    if found is None:
        hold(connection)
        head = sa.select(change_stream.c.seq).where(change_stream.c.id == 1)
        found = _Gathered(connection.execute(head).scalar_one())
        connection.info[_GATHERED] = found
    return found


def append(connection: Connection, kind: str, key: str, doc: msgspec.Struct | None) -> int:
    """Add a change within the caller's transaction; ``doc`` None means deleted. Returns its seq."""
    text = None if doc is None else msgspec.json.encode(doc).decode()
    if _GATHERED in connection.info:
        waiting = _gathering(connection)
        waiting.seq += 1
        waiting.rows.append({"seq": waiting.seq, "kind": kind, "key": key, "doc": text})
        waiting.newest[kind, key] = text
        return waiting.seq
    seq = connection.execute(
        sa.update(change_stream)
        .where(change_stream.c.id == 1)
        .values(seq=change_stream.c.seq + 1)
        .returning(change_stream.c.seq)
    ).scalar_one()
    connection.execute(sa.insert(changes).values(seq=seq, kind=kind, key=key, doc=text))
    return int(seq)


def newest(connection: Connection, kind: str, key: str) -> str | None:
    """The present document of a key, as JSON; None where there is none."""
    waiting: _Gathered | None = connection.info.get(_GATHERED)
    if waiting is not None and (kind, key) in waiting.newest:
        return waiting.newest[kind, key]
    query = sa.select(changes.c.doc).where(changes.c.kind == kind, changes.c.key == key)
    return connection.execute(query.order_by(changes.c.seq.desc()).limit(1)).scalar()


def initialise(connection: Connection) -> None:
    """Make the stream's one row, if it is not there yet. Called by the first migration's owner."""
    if connection.execute(sa.select(change_stream.c.id)).first() is None:
        row = {"id": 1, "stream": secrets.token_hex(8), "seq": 0, "compacted": 0}
        connection.execute(sa.insert(change_stream).values(row))


def read(connection: Connection, stream: str, after: int) -> ChangePage:
    """Changes after ``after`` in order, by pages.

    A reader that cannot continue from there (another database, or rows that compaction dropped)
    gets ``reset`` and the present state whole, in one page.
    """
    head = connection.execute(sa.select(change_stream)).one()
    reset = stream != head.stream or after > head.seq or after < head.compacted
    query = sa.select(changes).order_by(changes.c.seq)
    if reset:
        rows, more = connection.execute(query).all(), False
    else:
        rows, more = _page(connection, query.where(changes.c.seq > after))
    found = [
        Change(row.seq, row.kind, row.key, msgspec.Raw(row.doc.encode()) if row.doc else DELETED)
        for row in rows
    ]
    following = rows[-1].seq if more else head.seq
    return ChangePage(stream=head.stream, reset=reset, changes=found, next=following, more=more)


def _page(
    connection: Connection, query: sa.Select[tuple[object, ...]]
) -> tuple[list[sa.Row[tuple[object, ...]]], bool]:
    """The first rows of ``query`` within both bounds of a page, and whether there may be more."""
    rows: list[sa.Row[tuple[object, ...]]] = []
    left = PAGE_BYTES
    fetched = connection.execute(query.limit(PAGE_ROWS).execution_options(yield_per=_FETCHED_ROWS))
    for row in fetched:
        left -= len(row.doc or "")
        if left < 0 and rows:
            fetched.close()
            return rows, True
        rows.append(row)
    return rows, len(rows) == PAGE_ROWS


def compact(connection: Connection) -> int:
    """Drop rows that a newer one of the same (kind, key) supersedes. Returns how many."""
    newest = sa.select(sa.func.max(changes.c.seq)).group_by(changes.c.kind, changes.c.key)
    seq = connection.execute(sa.select(change_stream.c.seq).with_for_update()).scalar_one()
    dropped = connection.execute(sa.delete(changes).where(changes.c.seq.not_in(newest)))
    tombstones = connection.execute(sa.delete(changes).where(changes.c.doc.is_(None)))
    connection.execute(sa.update(change_stream).values(compacted=seq))
    return dropped.rowcount + tombstones.rowcount
