"""Blobs: bytes in the blob store, and a row for each that says they may be relied on."""

from collections.abc import Iterator
from pathlib import Path

from protocol.errors import Code, TollwayError
from protocol.manifest import Blob
from registry.blobstore import BlobStore
from registry.clock import Clock
from registry.digests import check_digest, digest_of
from registry.store import audit
from registry.store import blobs as store
from registry.store.blobs import BlobRecord
from registry.store.database import Database
from runtime.priority import lowered

STORE_ATTEMPTS = 3


def blob_not_found(digest: str) -> TollwayError:
    """The error for a digest that has not been uploaded."""
    return TollwayError(Code.NOT_FOUND, f"there is no blob {digest}")


class Blobs:
    """Adds and reads blobs."""

    def __init__(self, database: Database, blob_store: BlobStore, clock: Clock) -> None:
        self._database = database
        self._store = blob_store
        self._clock = clock

    def get(self, digest: str) -> BlobRecord:
        """What is known of the blob. Raises ``NOT_FOUND``."""
        check_digest(digest)
        with self._database.read() as connection:
            found = store.get(connection, digest)
        if found is None:
            raise blob_not_found(digest)
        return found

    def open(self, digest: str, start: int = 0) -> tuple[BlobRecord, Iterator[bytes]]:
        """What is known of the blob, and its bytes from ``start`` on in chunks.

        ``start`` beyond its end gives no bytes. Raises ``NOT_FOUND``.
        """
        found = self.get(digest)
        return found, self._store.read(digest, start)

    def claim(self, digest: str) -> BlobRecord | None:
        """The blob if it is there, kept from garbage collection for a whole grace period more.

        None as well where the bytes are missing from the store: uploading them again heals it.
        """
        check_digest(digest)
        with self._database.write() as connection:
            found = store.lock(connection, [digest]).get(digest)
            if found is None or found.state != store.PRESENT:
                return None
            if self._store.size(digest) != found.size:
                return None
            store.unmark(connection, [digest])
            return found

    def add(self, digest: str, source: Path, holder: str) -> BlobRecord:
        """Store the bytes of ``source``, which ``holder`` has brought, under ``digest``; raises
        ``DIGEST_MISMATCH``.

        Bytes come before the row, so a row never promises what is not there. A collector that
        deletes the bytes between the two holds the row's lock while it does, so looking for them
        under that lock is enough to know that they must be stored again.
        """
        size = source.stat().st_size
        for _ in range(STORE_ATTEMPTS):
            lowered(lambda: self._store.put(digest, source))
            with self._database.write() as connection:
                store.ensure(connection, digest, size, self._clock())
                earlier = store.lock(connection, [digest])[digest]
                if self._store.size(digest) == size:
                    store.set_present(connection, digest, size)
                    store.add_holder(connection, digest, holder)
                    if earlier.state == store.DAMAGED:
                        audit.record(
                            connection,
                            "blob.healed",
                            "blob",
                            digest,
                            at_ms=self._clock(),
                            before={"state": earlier.state},
                            after={"state": store.PRESENT},
                        )
                    found = store.get(connection, digest)
                    assert found is not None
                    return found
        raise TollwayError(
            Code.UNAVAILABLE, "the blob store lost the bytes that it was given; try again"
        )

    def copy_out(self, blob: Blob, target: Path) -> None:
        """Write the blob to ``target``, a private real file, and verify its digest on the way."""
        lowered(lambda: self._copy_out(blob, target))

    def _copy_out(self, blob: Blob, target: Path) -> None:
        with target.open("xb") as file:

            def written() -> Iterator[bytes]:
                for chunk in self._store.read(blob.digest):
                    file.write(chunk)
                    yield chunk

            found = digest_of(written())
        if found != blob.digest:
            raise TollwayError(
                Code.UNAVAILABLE,
                f"blob {blob.digest} is damaged in the blob store; upload it again",
                f"stored bytes have digest {found}",
            )
