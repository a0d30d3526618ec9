"""Blobs in an object store: S3, Google Cloud Storage or Azure, through obstore.

An object appears whole or not at all, which is what the interface demands; an interrupted upload
leaves hidden parts that a bucket's own lifecycle rule should drop.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from protocol.errors import Code, TollwayError
from registry.blobstore import StoredBlob
from registry.digests import check_digest, digest_mismatch, digest_of, file_chunks

RANGE_BYTES = 8 << 20
"""Bytes per request while reading: no request lasts so long that a time limit cuts it."""
_DIGEST_DIGITS = 64


class ObjectBlobStore:
    """See :class:`registry.blobstore.BlobStore`."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def open(cls, url: str) -> "ObjectBlobStore":
        """The store at ``s3://bucket/prefix`` and the like, credentials from the environment."""
        return cls(from_url(url))

    def put(self, digest: str, source: Path) -> None:
        """Hash ``source`` first, then send it: nothing wrong is ever visible."""
        found = digest_of(file_chunks(source))
        if found != digest:
            raise digest_mismatch(digest, found)
        with _translated():
            obstore.put(self._store, _path(digest), source)

    def read(self, digest: str, start: int = 0) -> Generator[bytes, None, None]:
        """The bytes from ``start`` on in chunks of at most ``RANGE_BYTES``."""
        path = _path(digest)
        size = self.size(digest)
        if size is None:
            raise TollwayError(Code.NOT_FOUND, f"there is no blob {digest}")

        def chunks() -> Generator[bytes, None, None]:
            for first in range(start, size, RANGE_BYTES):
                with _translated():
                    end = min(first + RANGE_BYTES, size)
                    yield bytes(obstore.get_range(self._store, path, start=first, end=end))

        return chunks()

    def size(self, digest: str) -> int | None:
        """Bytes stored under the digest, or None."""
        try:
            with _translated():
                return obstore.head(self._store, _path(digest))["size"]
        except FileNotFoundError:
            return None

    def delete(self, digest: str) -> None:
        """Remove the object."""
        try:
            with _translated():
                obstore.delete(self._store, _path(digest))
        except FileNotFoundError:
            return

    def list(self) -> Iterator[StoredBlob]:
        """Every blob, by pages of the store's own."""
        with _translated():
            for page in obstore.list(self._store, "sha256"):
                for found in page:
                    digits = found["path"].rpartition("/")[2]
                    if len(digits) == _DIGEST_DIGITS:
                        modified = int(found["last_modified"].timestamp() * 1000)
                        yield StoredBlob(f"sha256:{digits}", found["size"], modified)

    def clean(self, before_ms: int) -> int:  # noqa: ARG002 -- objects are written in one step
        """Nothing to do: see the module's comment on interrupted uploads."""
        return 0


def _path(digest: str) -> str:
    digits = check_digest(digest).removeprefix("sha256:")
    return f"sha256/{digits[:2]}/{digits}"


@contextmanager
def _translated() -> Iterator[None]:
    """A store that does not answer is ``UNAVAILABLE``; a missing object stays what it is."""
    try:
        yield
    except FileNotFoundError:
        raise
    except BaseError as error:
        raise TollwayError(
            Code.UNAVAILABLE, "the blob store does not answer; try again", repr(error)
        ) from error
