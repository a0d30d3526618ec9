"""The audit log as a whole: verified, exported, and how it stands."""

import threading
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path

import msgspec

from control.audit import formats
from registry.checkpoint import Checkpoint, PublicKeys
from registry.clock import Clock
from registry.store import audit, audit_read
from registry.store.database import Database
from registry.verification import (
    Report,
    StoredCheckpoint,
    StoredEntry,
    Verifier,
    merged,
)
from runtime.logs import logger


class Verified(msgspec.Struct, frozen=True):
    """The outcome of a verification, and when it began."""

    at_ms: int
    report: Report


class Running(msgspec.Struct, frozen=True):
    """A verification that is under way."""

    at_ms: int
    """When it began."""
    checked: int
    """Entries and checkpoints that it has been through."""
    entries: int
    """Entries that the log had when it began."""


class Standing(msgspec.Struct, frozen=True):
    """How the log stands: quick to read."""

    entries: int
    hash: str
    checkpoint: Checkpoint | None
    verified: Verified | None
    running: Running | None


def verify_database(
    database: Database,
    keys: PublicKeys | None,
    checkpoints: Path | None = None,
    proceed: Callable[[], None] = lambda: None,
) -> Report:
    """Verify the log in the database against itself, its checkpoints, and those in the file.

    One consistent view, whatever is written meanwhile; memory does not grow with the log.
    ``proceed`` is called before each item, and ends the verification by raising.
    """
    # The size first: what the file holds by now has been committed before the view is opened.
    size = checkpoints.stat().st_size if checkpoints is not None and checkpoints.exists() else 0
    verifier = Verifier(keys)
    verifier.expect("database")
    with database.read() as connection, audit_read.any_text(connection):
        seq, hash = audit_read.head(connection)
        streams = [audit_read.stored_checkpoints(connection)]
        if checkpoints is not None and size:
            streams.append(_checkpoints_only(checkpoints, size))
        for item in merged(audit_read.stored_entries(connection), *streams):
            proceed()
            verifier.take(item)
        verifier.head(seq, hash)
    return verifier.report()


def verify_file(path: Path, keys: PublicKeys | None, checkpoints: Path | None = None) -> Report:
    """Verify an archive, without any database."""
    verifier = Verifier(keys)
    items: Iterator[StoredEntry | StoredCheckpoint] = formats.read(path)
    if checkpoints is not None:
        entries = (item for item in items if isinstance(item, StoredEntry))
        items = merged(entries, _checkpoints_only(checkpoints, None))
    for item in items:
        verifier.take(item)
    return verifier.report()


def archive(database: Database) -> Iterator[bytes]:
    """The whole log with its checkpoints as lines of an archive."""
    with database.read() as connection, audit_read.any_text(connection):
        yield from formats.lines(
            merged(audit_read.stored_entries(connection), audit_read.stored_checkpoints(connection))
        )


def _checkpoints_only(path: Path, upto: int | None) -> Iterator[StoredCheckpoint]:
    for item in formats.read(path, upto):
        if isinstance(item, StoredCheckpoint):
            yield item._replace(source="file")


class AuditLog:
    """Control's view of the log, with the last verification. Thread-safe; calls block."""

    def __init__(
        self, database: Database, clock: Clock, public_key_file: Path, checkpoints: Path
    ) -> None:
        self._database = database
        self._clock = clock
        self._public_key_file = public_key_file
        self._checkpoints = checkpoints
        self._lock = threading.Lock()
        self._verified: Verified | None = None
        self._running: Running | None = None
        self._checked = 0

    def begin(self) -> bool:
        """Note that a verification begins, which :meth:`verify` then makes; False while another is
        under way in this process."""
        with self._database.read() as connection:
            entries, _ = audit_read.head(connection)
        with self._lock:
            if self._running is not None:
                return False
            self._running = Running(self._clock(), 0, entries)
            self._checked = 0
        return True

    def verify(self, proceed: Callable[[], None] = lambda: None) -> Report:
        """Verify the whole log; what is found is logged, and recorded in the log itself."""
        began = self._clock()

        def counted() -> None:
            self._checked += 1
            proceed()

        try:
            keys = PublicKeys([self._public_key_file.read_text()])
            report = verify_database(self._database, keys, self._checkpoints, counted)
        finally:
            with self._lock:
                self._running = None
        with self._lock:
            self._verified = Verified(began, report)
        if not report.ok:
            self._tell(report)
        return report

    def _tell(self, report: Report) -> None:
        log = logger("audit")
        for finding in report.findings:
            log.error("the audit log is damaged", seq=finding.seq, problem=finding.detail)
        state = {
            "findings": len(report.findings) + report.further,
            "first": report.findings[0].detail,
        }
        with self._database.write() as connection:
            audit.record(
                connection, "audit.damaged", "audit", "log", at_ms=self._clock(), after=state
            )

    def standing(self) -> Standing:
        """How the log stands."""
        with self._database.read() as connection:
            entries, hash = audit_read.head(connection)
            checkpoint = audit_read.last_checkpoint(connection)
        with self._lock:
            running = self._running
            if running is not None:
                running = msgspec.structs.replace(running, checked=self._checked)
            return Standing(entries, hash, checkpoint, self._verified, running)

    def page(
        self, which: audit_read.Filter, before: int | None, limit: int
    ) -> list[audit_read.Recorded]:
        """At most ``limit`` entries, newest first, from the one following entry ``before``."""
        with self._database.read() as connection:
            return audit_read.page(connection, which, before, limit)

    def search(
        self, which: audit_read.Filter, before: int | None, limit: int
    ) -> tuple[list[audit_read.Recorded], int]:
        """As :meth:`page`, among a bounded number of entries, and the first of those."""
        with self._database.read() as connection:
            return audit_read.search_page(connection, which, before, limit)

    def each(self, which: audit_read.Filter) -> Iterator[audit_read.Recorded]:
        """Every entry that is asked for, oldest first, by pages: no transaction is held between."""
        after = 0
        while True:
            with self._database.read() as connection:
                page = audit_read.next_page(connection, which, after, audit_read.PAGE_ROWS)
            yield from page
            if len(page) < audit_read.PAGE_ROWS:
                return
            after = page[-1].entry.seq

    def archive(self) -> Iterator[bytes]:
        """The whole log with its checkpoints as lines of an archive.

        By pages up to the present end: however slow the reader, no transaction is held for it.
        """
        with self._database.read() as connection:
            end, _ = audit_read.head(connection)
        entries = (
            StoredEntry(msgspec.structs.asdict(one.entry), one.hash)
            for one in takewhile(lambda one: one.entry.seq <= end, self.each(audit_read.Filter()))
        )
        return formats.lines(merged(entries, self._checkpoints_upto(end)))

    def _checkpoints_upto(self, end: int) -> Iterator[StoredCheckpoint]:
        number = 0
        while True:
            with self._database.read() as connection:
                page = audit_read.checkpoints_after(connection, number, audit_read.PAGE_ROWS)
            for one in page:
                if one.seq > end:
                    return
                yield StoredCheckpoint(msgspec.structs.asdict(one), "archive")
            if not page:
                return
            number = page[-1].number
