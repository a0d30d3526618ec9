"""Resumable uploads: announced with their digest, brought in pieces, checked when complete.

The bytes are staged in one local file per upload. Its length is the offset, so that a crash at any
byte leaves an upload that can be resumed, and nothing that anybody else can see.
"""

import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from protocol.errors import Code, TollwayError
from registry.blobs import Blobs
from registry.blobstore import CHUNK_BYTES
from registry.clock import Clock
from registry.digests import check_digest, digest_mismatch, digest_of
from registry.settings import RegistrySettings
from registry.store import uploads as store
from registry.store.blobs import BlobRecord
from registry.store.database import Database
from registry.store.uploads import UploadRecord

_ID = re.compile(r"[0-9a-f]{32}")


class OffsetConflict(TollwayError):  # noqa: N818 -- the upload is sound; the request is not
    """The piece does not begin where the upload stands. ``offset`` is where it does."""

    def __init__(self, offset: int, public: str) -> None:
        super().__init__(Code.CONFLICT, public)
        self.offset = offset


class Uploads:
    """Uploads under way. One piece at a time per upload."""

    def __init__(
        self, database: Database, blobs: Blobs, settings: RegistrySettings, clock: Clock
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._settings = settings
        self._clock = clock
        self._folder = settings.staging_dir / "uploads"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._busy: set[str] = set()
        self._busy_lock = threading.Lock()

    def begin(
        self, digest: str, size: int, *, actor: str, known: bool = True
    ) -> UploadRecord | BlobRecord:
        """Announce an upload. Returns the blob instead when it is there already.

        With ``known`` False the bytes must come whether they are there or not: the actor has to
        show that they have them.
        """
        check_digest(digest)
        if size < 0:
            raise TollwayError(Code.INVALID, "size must not be negative")
        self._check_size(size)
        present = self._blobs.claim(digest) if known else None
        if present is not None:
            if present.size != size:
                raise TollwayError(
                    Code.INVALID, f"blob {digest} has {present.size} bytes, not {size}"
                )
            return present
        now = self._clock()
        record = UploadRecord(
            id=secrets.token_hex(16),
            digest=digest,
            size=size,
            created_by=actor,
            created_at=now,
            expires_at=now + self._ttl_ms(),
        )
        self._path(record.id).touch(mode=0o600, exist_ok=False)
        with self._database.write() as connection:
            store.insert(connection, record)
        return record

    def get(self, id: str, creator: str | None = None) -> UploadRecord:
        """The upload, of ``creator`` alone if named. Raises ``NOT_FOUND``."""
        found = None
        if _ID.fullmatch(id) is not None:
            with self._database.read() as connection:
                found = store.get(connection, id)
        if found is None or creator not in (None, found.created_by):
            raise TollwayError(Code.NOT_FOUND, "there is no such upload; it may have expired")
        return found

    def offset(self, id: str) -> int:
        """How many bytes have arrived. An upload whose staged file is lost begins anew."""
        self.get(id)
        return self._offset(id)

    def open_piece(self, id: str, offset: int, length: int | None = None) -> "Piece":
        """Begin to receive a piece at ``offset``; ``length`` is its size if it is known.

        Until the piece is closed no other request can touch the upload.
        """
        record = self.get(id)
        self._enter(id)
        try:
            present = self._offset(id)
            if offset != present:
                raise OffsetConflict(
                    present, f"the upload stands at offset {present}, not {offset}"
                )
            if length is not None and present + length > record.size:
                raise _too_long(record)
            with self._database.write() as connection:
                store.extend(connection, id, self._clock() + self._ttl_ms())
            return Piece(self._path(id).open("ab"), record, present, lambda: self._leave(id))
        except BaseException:
            self._leave(id)
            raise

    def complete(self, id: str) -> BlobRecord:
        """Check what arrived and make it a blob. A wrong digest removes the upload."""
        record = self.get(id)
        with self._exclusive(id):
            offset = self._offset(id)
            if offset != record.size:
                raise _unfinished(offset, record)
            try:
                blob = self._blobs.add(record.digest, self._path(id), record.created_by)
            except TollwayError as error:
                if error.code is Code.DIGEST_MISMATCH:
                    self._remove(id)
                raise
            self._remove(id)
            return blob

    def take(self, id: str, most_bytes: int) -> IO[bytes]:
        """The bytes of a whole upload, for who reads them once: no blob is made of them.

        The upload is over, and its file has no name any more: nothing of it stays behind when what
        is returned is closed, or its process ends. Raises ``TOO_LARGE`` and
        :class:`OffsetConflict`, with which the upload stays; a wrong digest removes it.
        """
        record = self.get(id)
        if record.size > most_bytes:
            raise TollwayError(
                Code.TOO_LARGE, f"the file has {record.size} bytes; at most {most_bytes} are taken"
            )
        with self._exclusive(id):
            offset = self._offset(id)
            if offset != record.size:
                raise _unfinished(offset, record)
            given = self._path(id).open("rb")
            try:
                found = digest_of(iter(lambda: given.read(CHUNK_BYTES), b""))
                self._remove(id)
                if found != record.digest:
                    raise digest_mismatch(record.digest, found)
                given.seek(0)
            except BaseException:
                given.close()
                raise
            return given

    def cancel(self, id: str) -> None:
        """Forget the upload and its bytes."""
        self.get(id)
        with self._exclusive(id):
            self._remove(id)

    def expire(self) -> int:
        """Forget uploads whose time is over, and staged files that no upload knows."""
        now = self._clock()
        with self._database.read() as connection:
            gone = store.expired(connection, now)
        removed = 0
        for id in gone:
            if self._try_enter(id):
                try:
                    if self._expired(id, now):
                        self._remove(id)
                        removed += 1
                finally:
                    self._leave(id)
        # Files first, rows second: an upload that begins meanwhile has its row before it is read.
        staged = [path for path in self._folder.iterdir() if self._stale(path, now)]
        with self._database.read() as connection:
            known = store.known(connection)
        for path in staged:
            if path.name not in known:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _expired(self, id: str, now: int) -> bool:
        """Whether its time is over still: until we held the upload, a piece may have come."""
        with self._database.read() as connection:
            found = store.get(connection, id)
        return found is not None and found.expires_at <= now

    def _stale(self, path: Path, now: int) -> bool:
        try:
            return path.stat().st_mtime_ns // 1_000_000 < now - self._ttl_ms()
        except FileNotFoundError:
            return False

    def _remove(self, id: str) -> None:
        with self._database.write() as connection:
            store.delete(connection, id)
        self._path(id).unlink(missing_ok=True)

    def _offset(self, id: str) -> int:
        path = self._path(id)
        try:
            return path.stat().st_size
        except FileNotFoundError:
            path.touch(mode=0o600)
            return 0

    def _path(self, id: str) -> Path:
        return self._folder / id

    def _ttl_ms(self) -> int:
        return int(self._settings.upload_ttl_s * 1000)

    def _check_size(self, size: int) -> None:
        limit = self._settings.max_artifact_bytes
        if size > limit:
            raise TollwayError(
                Code.TOO_LARGE, f"a blob of {size} bytes exceeds the limit of {limit} bytes"
            )

    @contextmanager
    def _exclusive(self, id: str) -> Iterator[None]:
        self._enter(id)
        try:
            yield
        finally:
            self._leave(id)

    def _enter(self, id: str) -> None:
        if not self._try_enter(id):
            raise OffsetConflict(
                self._offset(id), "another request is writing to this upload; try again"
            )

    def _try_enter(self, id: str) -> bool:
        with self._busy_lock:
            if id in self._busy:
                return False
            self._busy.add(id)
            return True

    def _leave(self, id: str) -> None:
        with self._busy_lock:
            self._busy.discard(id)


class Piece:
    """One piece of an upload while it arrives. What was written stays, however it ends, except a
    piece that exceeds the announced size: that is taken back whole."""

    def __init__(
        self, file: IO[bytes], record: UploadRecord, offset: int, closed: Callable[[], None]
    ) -> None:
        self._file = file
        self._record = record
        self._start = offset
        self._closed = closed
        self.offset = offset
        """Bytes of the upload that have arrived."""

    def write(self, data: bytes) -> None:
        """Append ``data``. Raises ``TOO_LARGE`` beyond the announced size."""
        if self.offset + len(data) > self._record.size:
            self._file.truncate(self._start)
            self.offset = self._start
            raise _too_long(self._record)
        self._file.write(data)
        self._file.flush()
        self.offset += len(data)

    def close(self) -> None:
        """Let other requests touch the upload again. Quick: it does not wait for the disk."""
        try:
            self._file.close()
        finally:
            self._closed()


def _unfinished(offset: int, record: UploadRecord) -> OffsetConflict:
    return OffsetConflict(
        offset, f"the upload has {offset} of {record.size} bytes; send the rest first"
    )


def _too_long(record: UploadRecord) -> TollwayError:
    return TollwayError(
        Code.TOO_LARGE, f"the upload was announced with {record.size} bytes; this piece exceeds it"
    )
