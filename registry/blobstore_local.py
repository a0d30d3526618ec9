"""Blobs in a local folder: ``sha256/ab/abcdef...``, each a private real file.

A write goes to a temporary file of its own name, is synced, renamed to its digest, and the folder
is synced: a crash at any byte leaves a temporary file that nobody reads, or the whole blob. No file
locks: they do nothing on network file systems.
"""

import hashlib
import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

from protocol.errors import Code, TollwayError
from registry.blobstore import CHUNK_BYTES, StoredBlob
from registry.digests import check_digest, digest_mismatch, file_chunks
from runtime.files import blob_path, sync_directory

_TEMPORARY = "temporary"
_HEX = frozenset("0123456789abcdef")
_DIGEST_DIGITS = 64


class LocalBlobStore:
    """See :class:`registry.blobstore.BlobStore`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._blobs = folder / "sha256"
        self._temporary = folder / _TEMPORARY
        self._blobs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._temporary.mkdir(exist_ok=True, mode=0o700)

    def put(self, digest: str, source: Path) -> None:
        """Copy ``source`` in, hashing on the way; visible only when whole and right."""
        final = self._path(digest)
        temporary = self._temporary / secrets.token_hex(16)
        try:
            found = _copy_synced(source, temporary)
            if found != digest:
                raise digest_mismatch(digest, found)
            if not final.parent.exists():
                final.parent.mkdir(exist_ok=True, mode=0o700)
                sync_directory(self._blobs)
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(final.parent)

    def read(self, digest: str, start: int = 0) -> Generator[bytes, None, None]:
        """The bytes from ``start`` on in chunks of at most ``CHUNK_BYTES``."""
        try:
            file = self._path(digest).open("rb")
        except FileNotFoundError:
            raise TollwayError(Code.NOT_FOUND, f"there is no blob {digest}") from None

        def chunks() -> Generator[bytes, None, None]:
            with file:
                file.seek(start)
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk

        return chunks()

    def size(self, digest: str) -> int | None:
        """Bytes stored under the digest, or None."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def delete(self, digest: str) -> None:
        """Remove the file, durably."""
        path = self._path(digest)
        with suppress(FileNotFoundError):
            path.unlink()
            sync_directory(path.parent)

    def list(self) -> Iterator[StoredBlob]:
        """Every blob; what disappears meanwhile is left out."""
        for folder in self._blobs.iterdir():
            for path in folder.iterdir():
                if len(path.name) != _DIGEST_DIGITS or not _HEX.issuperset(path.name):
                    continue
                with suppress(FileNotFoundError):
                    status = path.stat()
                    modified = status.st_mtime_ns // 1_000_000
                    yield StoredBlob(f"sha256:{path.name}", status.st_size, modified)

    def clean(self, before_ms: int) -> int:
        """Remove temporary files that nobody has written to since ``before_ms``."""
        removed = 0
        for path in self._temporary.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime_ns // 1_000_000 < before_ms:
                    path.unlink()
                    removed += 1
        return removed

    def _path(self, digest: str) -> Path:
        return blob_path(self._folder, check_digest(digest).removeprefix("sha256:"))


def _copy_synced(source: Path, target: Path) -> str:
    sha = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for chunk in file_chunks(source):
            sha.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return "sha256:" + sha.hexdigest()
