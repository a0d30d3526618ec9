"""Control's checkpoints of the audit log: made when they are due, and copied to a file.

The file is the copy that an edit of the database cannot reach; keep a copy of it elsewhere.
"""

import os
from pathlib import Path
from typing import Final

from control.audit import formats
from registry.checkpoint import Checkpoint, PublicKeys, Signer
from registry.clock import Clock
from registry.store import audit, audit_read, changes
from registry.store.database import Database
from runtime.files import secret_file, write_atomically
from runtime.signatures import new_signing_key

FILE: Final = "checkpoints.jsonl"
PUBLIC: Final = "public.pem"
_PAGE: Final = 500


def open_signer(key_path: Path, folder: Path) -> Signer:
    """The signer whose key is in ``key_path``, made (mode 0600) when there is none, and its public
    key added to ``folder``'s ``public.pem``, which keeps the keys of earlier times.

    Raises ``INVALID`` for a file that holds no such key.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    signer = Signer(secret_file(key_path, new_signing_key))
    public = folder / PUBLIC
    known = public.read_text() if public.exists() else ""
    if signer.public_pem not in known:
        write_atomically(public, (known + signer.public_pem).encode())
    return signer


def public_keys(*paths: Path) -> PublicKeys:
    """The keys in the files."""
    return PublicKeys(path.read_text() for path in paths)


def record_key(database: Database, signer: Signer, now_ms: int) -> bool:
    """Put the public key into the log when it is new there. Returns whether it was."""
    with database.read() as connection:
        if audit_read.page(connection, _key_entries(signer), None, 1):
            return False
    with database.write() as connection:
        state = {"public_key": signer.public_pem}
        audit.record(
            connection, "audit_key.created", "audit_key", signer.id, at_ms=now_ms, after=state
        )
    return True


def _key_entries(signer: Signer) -> audit_read.Filter:
    return audit_read.Filter(kind="audit_key", key=signer.id)


class Checkpoints:
    """Makes checkpoints. Thread-safe, also beside other control processes; calls block."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        signer: Signer,
        file: Path,
        *,
        every_entries: int,
        every_ms: int,
    ) -> None:
        """One is due after ``every_entries`` new entries, or ``every_ms`` after the one before if
        there are any."""
        self._database = database
        self._clock = clock
        self._signer = signer
        self._file = file
        self._every_entries = every_entries
        self._every_ms = every_ms

    def make_if_due(self) -> Checkpoint | None:
        """Make a checkpoint if one is due, and bring the file up to date."""
        with self._database.read() as connection:
            seq, _ = audit_read.head(connection)
            earlier = audit_read.last_checkpoint(connection)
        made = self._make() if self._due(seq, earlier) else None
        self._copy()
        return made

    def _due(self, seq: int, earlier: Checkpoint | None) -> bool:
        if earlier is None:
            return seq > 0
        if seq <= earlier.seq:
            return False
        waited = self._clock() - earlier.at_ms
        return seq - earlier.seq >= self._every_entries or waited >= self._every_ms

    def _make(self) -> Checkpoint | None:
        with self._database.write() as connection:
            changes.hold(connection)
            seq, hash = audit_read.head(connection)
            earlier = audit_read.last_checkpoint(connection)
            if not self._due(seq, earlier):
                return None  # another process was faster
            made = self._signer.sign(seq, hash, self._clock(), earlier)
            audit_read.add_checkpoint(connection, made)
            return made

    def _copy(self) -> None:
        """Append what the file lacks. A crash between the database and the file is mended here."""
        number = _last_number(self._file)
        while True:
            with self._database.read() as connection:
                page = audit_read.checkpoints_after(connection, number, _PAGE)
            if not page:
                return
            text = b"".join(formats.checkpoint_line(one) for one in page)
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            number = page[-1].number


def _last_number(path: Path) -> int:
    """Number of the last checkpoint in the file; a torn last line, which a crash leaves, goes."""
    try:
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - 4096)
            file.seek(start)
            tail = file.read()
            whole = tail.rfind(b"\n") + 1
            if whole < len(tail):
                file.truncate(start + whole)
    except FileNotFoundError:
        return 0
    last = tail[:whole].splitlines()[-1:]
    if not last:
        return 0
    fields = formats.parse(last[0], path.name).fields
    number = fields.get("number")
    return number if isinstance(number, int) else 0
