"""Control's side of the change stream: pages for followers, publishing once, compaction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protocol.configuration import DELETED, Change, ChangePage
from registry.store import changes
from registry.store.changes import change_stream
from registry.store.database import Database


class ObservedDatabase(Database):
    """A database that tells when a transaction of this process has committed."""

    def __init__(self, url: str, committed: Callable[[], None]) -> None:
        """``committed()`` is called in the thread of the transaction; it must not block."""
        super().__init__(url)
        self._observers = [committed]

    def observe(self, committed: Callable[[], None]) -> None:
        """Have ``committed()`` called as well."""
        self._observers.append(committed)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction, as in :class:`Database`."""
        with super().write() as connection:
            yield connection
        for committed in self._observers:
            committed()


def publish_if_new(
    connection: Connection, kind: str, key: str, document: msgspec.Struct | None
) -> bool:
    """Append the document to the stream unless it is the present one. Returns whether it did."""
    present = changes.newest(connection, kind, key)
    wanted = None if document is None else msgspec.json.encode(document).decode()
    if present == wanted:
        return False
    changes.append(connection, kind, key, document)
    return True


class Stream:
    """Reads and compacts the change log. Thread-safe; calls block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self) -> int:
        """Number of the newest change."""
        with self._database.read() as connection:
            return int(connection.execute(sa.select(change_stream.c.seq)).scalar_one())

    def page(self, stream: str, after: int) -> ChangePage:
        """What a follower that holds ``after`` of ``stream`` needs next."""
        with self._database.read() as connection:
            return changes.read(connection, stream, after)

    def rows(self, after: int, limit: int) -> list[Change]:
        """Rows of the log after ``after`` in order. Compaction has dropped what was superseded."""
        table = changes.changes.c
        query = sa.select(changes.changes).where(table.seq > after).order_by(table.seq).limit(limit)
        with self._database.read() as connection:
            return [
                Change(
                    row.seq,
                    row.kind,
                    row.key,
                    msgspec.Raw(row.doc.encode()) if row.doc else DELETED,
                )
                for row in connection.execute(query)
            ]

    def surplus(self) -> int:
        """How many rows compaction would drop."""
        table = changes.changes.c
        live = (
            sa.select(sa.literal(1))
            .select_from(changes.changes)
            .group_by(table.kind, table.key)
            .subquery()
        )
        with self._database.read() as connection:
            rows = connection.execute(sa.select(sa.func.count()).select_from(changes.changes))
            kept = connection.execute(sa.select(sa.func.count()).select_from(live))
            return int(rows.scalar_one()) - int(kept.scalar_one())

    def compact(self) -> int:
        """Drop superseded rows. Followers that are behind start over. Returns how many went."""
        with self._database.write() as connection:
            return changes.compact(connection)
