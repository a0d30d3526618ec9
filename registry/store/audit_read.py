"""Reading the audit log: page by page for people, whole for verification."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from registry.chain import Entry
from registry.checkpoint import Checkpoint
from registry.store.audit import audit, audit_checkpoints, audit_head
from registry.verification import StoredCheckpoint, StoredEntry

PAGE_ROWS: Final = 500
SEARCH_ENTRIES: Final = 20_000
"""Entries that one page of a search for a text looks at: no index knows what is in them."""
_SEARCHED: Final = ("actor", "action", "key", "reason", "address", "request_id", "before", "after")


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are asked for; None: whatever it is."""

    actor: str | None = None
    action: str | None = None
    kind: str | None = None
    key: str | None = None
    from_ms: int | None = None
    """Entries at or after that time."""
    to_ms: int | None = None
    """Entries before that time."""
    search: str | None = None
    """Text that stands anywhere in them, in whatever case."""


class Recorded(msgspec.Struct, frozen=True):
    """An entry with its hash."""

    entry: Entry
    hash: str


def exists(connection: Connection) -> bool:
    """Whether the database has an audit log at all."""
    return sa.inspect(connection).has_table(audit.name)


def page(connection: Connection, which: Filter, before: int | None, limit: int) -> list[Recorded]:
    """At most ``limit`` entries, newest first, from the one following entry ``before``."""
    query = sa.select(audit).where(*_conditions(which)).order_by(audit.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.seq < before)
    return [_recorded(row._mapping) for row in connection.execute(query)]


def search_page(
    connection: Connection, which: Filter, before: int | None, limit: int
) -> tuple[list[Recorded], int]:
    """As :func:`page`, of the :data:`SEARCH_ENTRIES` entries before ``before``; and the first of
    them: the search goes on before it."""
    above = before if before is not None else head(connection)[0] + 1
    first = max(above - SEARCH_ENTRIES, 1)
    query = sa.select(audit).where(*_conditions(which), audit.c.seq >= first, audit.c.seq < above)
    rows = connection.execute(query.order_by(audit.c.seq.desc()).limit(limit))
    return [_recorded(row._mapping) for row in rows], first


def next_page(connection: Connection, which: Filter, after: int, limit: int) -> list[Recorded]:
    """At most ``limit`` entries, oldest first, from the one following entry ``after``."""
    query = sa.select(audit).where(*_conditions(which), audit.c.seq > after)
    return [
        _recorded(row._mapping)
        for row in connection.execute(query.order_by(audit.c.seq).limit(limit))
    ]


def head(connection: Connection) -> tuple[int, str]:
    """Number and hash of the last entry, as the head notes them."""
    row = connection.execute(sa.select(audit_head.c.seq, audit_head.c.hash)).first()
    return (0, "") if row is None else (row.seq, row.hash)


def last_checkpoint(connection: Connection) -> Checkpoint | None:
    """The newest checkpoint."""
    query = sa.select(audit_checkpoints).order_by(audit_checkpoints.c.number.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else Checkpoint(**row._mapping)


def checkpoints_after(connection: Connection, number: int, limit: int) -> list[Checkpoint]:
    """At most ``limit`` checkpoints, oldest first, from the one following ``number``."""
    table = audit_checkpoints
    query = sa.select(table).where(table.c.number > number).order_by(table.c.number).limit(limit)
    return [Checkpoint(**row._mapping) for row in connection.execute(query)]


def add_checkpoint(connection: Connection, checkpoint: Checkpoint) -> None:
    """Store a checkpoint."""
    connection.execute(sa.insert(audit_checkpoints).values(msgspec.structs.asdict(checkpoint)))


def stored_entries(connection: Connection) -> Iterator[StoredEntry]:
    """Every entry in the order of its number, whatever has been made of it."""
    for row in _rows(connection, audit, audit.c.seq):
        fields = dict(row)
        hash = fields.pop("hash")
        yield StoredEntry(fields, hash)


def stored_checkpoints(connection: Connection) -> Iterator[StoredCheckpoint]:
    """Every checkpoint of the database in the order of its number."""
    for row in _rows(connection, audit_checkpoints, audit_checkpoints.c.number):
        yield StoredCheckpoint(dict(row), "database")


@contextmanager
def any_text(connection: Connection) -> Iterator[None]:
    """Within the block, text that is not UTF-8, which an edit can leave on SQLite, is read as
    something that no recorded text is equal to."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.dbapi_connection
    assert driver is not None
    usual = driver.text_factory
    driver.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = usual


def _rows(
    connection: Connection, table: sa.Table, order: sa.Column[int]
) -> Iterator[Mapping[str, object]]:
    """Rows by pages: a page is all that is held."""
    query = sa.select(table).order_by(order).limit(PAGE_ROWS)
    page = query
    while True:
        rows = connection.execute(page).mappings().all()
        for row in rows:
            yield {str(name): value for name, value in row.items()}
        if len(rows) < PAGE_ROWS:
            return
        page = query.where(order > rows[-1][order.name])


def _conditions(which: Filter) -> list[sa.ColumnElement[bool]]:
    table = audit.c
    wanted = [
        table[name] == value
        for name in ("actor", "action", "kind", "key")
        if (value := getattr(which, name)) is not None
    ]
    if which.from_ms is not None:
        wanted.append(table.at_ms >= which.from_ms)
    if which.to_ms is not None:
        wanted.append(table.at_ms < which.to_ms)
    if which.search is not None:
        found = [table[name].icontains(which.search, autoescape=True) for name in _SEARCHED]
        wanted.append(sa.or_(*found))
    return wanted


def _recorded(row: sa.RowMapping) -> Recorded:
    fields = {str(name): value for name, value in row.items()}
    hash = fields.pop("hash")
    return Recorded(Entry(**fields), hash)
