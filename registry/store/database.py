"""The one SQL database: SQLite in WAL mode by default, PostgreSQL through psycopg 3."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import IntegrityError

BUSY_TIMEOUT_MS = 10_000
AlreadyThere = IntegrityError
"""Another transaction made a row of the same key first."""
Transaction = Connection
"""What :meth:`Database.read` and :meth:`Database.write` give, for code that only passes it on."""
_WRITES = "tollway_writes"

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Every table of the system; ``registry.store`` and ``control.store`` add theirs to it."""


class Database:
    """Connections and transactions. Thread-safe; calls block, so async code uses threads.

    Writers on SQLite take the write lock at BEGIN, so that a transaction which reads and then
    writes never fails half-way on a lock.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(parsed) if self.is_sqlite else _postgres_engine(parsed)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one consistent view, however many statements it has."""
        with self.engine.connect() as connection:
            if not self.is_sqlite:  # SQLite reads from one snapshot anyway
                connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, or rolls back when it raises."""
        with self.engine.connect() as connection:
            writing = connection.execution_options(**{_WRITES: True})
            with writing.begin():
                yield writing

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


class OneTransaction(Database):
    """A database whose every read and write is part of one transaction, that of ``connection``.

    What is built on it for the length of that transaction commits, or rolls back, together.
    """

    def __init__(self, connection: Connection) -> None:
        self.engine = connection.engine
        self.is_sqlite = connection.dialect.name == "sqlite"
        self._connection = connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """The transaction: sees what was written in it."""
        yield self._connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """The transaction. Leaving the block commits nothing."""
        yield self._connection

    def close(self) -> None:
        """Nothing: the connection is its owner's."""


def _make_private(url: URL) -> None:
    """Make the file, and those beside it, readable by this user alone. What SQLite adds to them
    gets the mode of the first."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return
    with suppress(OSError):  # SQLite says next what it cannot open
        os.close(os.open(url.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for path in (url.database, f"{url.database}-wal", f"{url.database}-shm"):
        # What is another user's is theirs to decide on.
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            Path(path).chmod(0o600)


def _sqlite_engine(url: URL) -> Engine:
    _make_private(url)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:  # noqa: ANN401 -- a DBAPI connection
        connection.isolation_level = None  # transactions begin where write() says
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres_engine(url: URL) -> Engine:
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=10,
        connect_args={"connect_timeout": 5},
    )
