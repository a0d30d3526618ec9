"""Where blobs' bytes live: the one narrow interface, and which implementation a location means."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

CHUNK_BYTES = 1 << 20
OBJECT_SCHEMES = ("s3://", "gs://", "az://")


class StoredBlob(NamedTuple):
    """What the store holds under a digest."""

    digest: str
    size: int
    modified_ms: int


class BlobStore(Protocol):
    """Content-addressed bytes. Calls block and are safe from several threads and processes.

    A digest is visible only when all its bytes are there and durable; a reader never sees a part.
    """

    def put(self, digest: str, source: Path) -> None:
        """Store the bytes of ``source``; raise ``DIGEST_MISMATCH``, leaving nothing, when they do
        not have this digest. Storing what is there already replaces it by the same bytes."""
        ...

    def read(self, digest: str, start: int = 0) -> Generator[bytes, None, None]:
        """The bytes from ``start`` on in chunks. Raises ``NOT_FOUND`` at the call, not at the
        first chunk. Who stops before the end closes it."""
        ...

    def size(self, digest: str) -> int | None:
        """Bytes stored, or None when there are none under this digest."""
        ...

    def delete(self, digest: str) -> None:
        """Remove the bytes; fine when there are none."""
        ...

    def list(self) -> Iterator[StoredBlob]:
        """Everything stored, in no order."""
        ...

    def clean(self, before_ms: int) -> int:
        """Remove what interrupted writes left before that time. Returns how many."""
        ...


def open_blob_store(location: str) -> BlobStore:
    """The store at ``location``: a folder, or an ``s3://``, ``gs://`` or ``az://`` URL whose
    credentials are in the environment as the provider's own tools expect them."""
    if location.startswith(OBJECT_SCHEMES):
        # obstore is a large library: only those who use it load it.
        from registry.blobstore_object import ObjectBlobStore  # noqa: PLC0415

        return ObjectBlobStore.open(location)
    from registry.blobstore_local import LocalBlobStore  # noqa: PLC0415

    return LocalBlobStore(Path(location.removeprefix("file://")))
