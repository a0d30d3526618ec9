"""The integrity scan: whether every blob that the registry promises is there and undamaged."""

from collections.abc import Iterator
from typing import Literal

import msgspec

from protocol.errors import Code, TollwayError
from registry.blobstore import BlobStore
from registry.clock import Clock
from registry.digests import digest_of
from registry.store import audit
from registry.store import blobs as store
from registry.store.blobs import BlobRecord
from registry.store.database import Database

PAGE_ROWS = 200


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """A blob that cannot be relied on, and the versions that need it as ``MODEL/NUMBER``."""

    digest: str
    problem: Literal["missing", "corrupt"]
    versions: tuple[str, ...]


class ScanReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan found. Uploading a damaged blob again heals it."""

    blobs: int
    bytes: int
    damaged: tuple[Damage, ...]


class Integrity:
    """Reads every blob and hashes it again."""

    def __init__(self, database: Database, blob_store: BlobStore, clock: Clock) -> None:
        self._database = database
        self._store = blob_store
        self._clock = clock

    def scan(self) -> ScanReport:
        """Check every blob. Takes as long as reading them all; holds no transaction meanwhile."""
        count = size = 0
        damaged = []
        for blob in self._blobs():
            count += 1
            size += blob.size
            problem = self._problem(blob)
            if self._record(blob, problem) and problem is not None:
                damaged.append(self._damage(blob.digest, problem))
        return ScanReport(blobs=count, bytes=size, damaged=tuple(damaged))

    def _blobs(self) -> Iterator[BlobRecord]:
        after = ""
        while True:
            with self._database.read() as connection:
                page = store.page(connection, after, PAGE_ROWS)
            if not page:
                return
            yield from page
            after = page[-1].digest

    def _problem(self, blob: BlobRecord) -> Literal["missing", "corrupt"] | None:
        try:
            found = digest_of(self._store.read(blob.digest))
        except OSError:
            return "corrupt"  # the medium itself refuses to give it
        except TollwayError as error:
            if error.code is Code.NOT_FOUND:
                return "missing"
            raise
        return None if found == blob.digest else "corrupt"

    def _record(self, blob: BlobRecord, problem: str | None) -> bool:
        """Take a damaged blob out of use, so that it can be uploaded again, and a healed one back.

        Returns False for one that was collected, or uploaded again, while it was being read.
        """
        with self._database.write() as connection:
            found = store.lock(connection, [blob.digest]).get(blob.digest)
            if found is None or found.state == store.SWEEPING:
                return False
            if problem is not None and self._healed(blob, found, problem):
                return False
            state = store.PRESENT if problem is None else store.DAMAGED
            if found.state != state:
                store.set_state(connection, blob.digest, state)
                audit.record(
                    connection,
                    "blob.healed" if problem is None else "blob.damaged",
                    "blob",
                    blob.digest,
                    at_ms=self._clock(),
                    before={"state": found.state},
                    after={"state": state, "problem": problem},
                )
            return True

    def _healed(self, read: BlobRecord, found: BlobRecord, problem: str) -> bool:
        """Whether the bytes are others by now than those that were read and found damaged."""
        if read.state == store.DAMAGED and found.state == store.PRESENT:
            return True
        return problem == "missing" and self._store.size(found.digest) == found.size

    def _damage(self, digest: str, problem: Literal["missing", "corrupt"]) -> Damage:
        with self._database.read() as connection:
            needing = store.versions_needing(connection, digest)
        return Damage(
            digest=digest,
            problem=problem,
            versions=tuple(f"{model}/{number}" for model, number in needing),
        )
