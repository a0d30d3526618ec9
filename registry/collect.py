"""Garbage collection of blobs, in two phases with a grace period between them.

0. Release: a version that was retired longer ago than its retention needs its blobs no more. Its
   manifest, with their digests, stays.
1. Mark: a blob that no version needs gets the time at which this was first seen.
2. Sweep: a blob marked for longer than the grace period, and still not needed, is taken out of use
   (from then on a publisher is told to upload it again), its bytes are deleted, then its row.

Announcing an upload of a blob takes its mark back, so a push has a whole grace period from its
announcement to the registration of the version. Bytes without a row, which a crash between the two
leaves, get a marked row and go the same way.
"""

import msgspec

from registry.blobstore import BlobStore
from registry.clock import Clock
from registry.settings import RegistrySettings
from registry.store import audit
from registry.store import blobs as store
from registry.store import versions as version_store
from registry.store.database import Database


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What one collection did."""

    released: int
    """Retired versions whose blobs are no longer needed by them."""
    marked: int
    swept: int
    orphans: int
    """Stored bytes found without a row, and marked."""
    temporary: int
    """Files of interrupted writes that were removed."""


class Collector:
    """Collects garbage. Runs beside publishers, and beside itself."""

    def __init__(
        self, database: Database, blob_store: BlobStore, settings: RegistrySettings, clock: Clock
    ) -> None:
        self._database = database
        self._store = blob_store
        self._grace_ms = int(settings.gc_grace_s * 1000)
        self._retention_ms = int(settings.retired_retention_s * 1000)
        self._clock = clock

    def collect(self) -> Collected:
        """Sweep what was marked long enough ago, then mark."""
        before = self._clock() - self._grace_ms
        swept = self._sweep(before)
        orphans = self._adopt_orphans(before)
        released = self._release(self._clock() - self._retention_ms)
        with self._database.write() as connection:
            marked = store.mark_unreferenced(connection, self._clock())
        return Collected(
            released=released,
            marked=marked,
            swept=swept,
            orphans=orphans,
            temporary=self._store.clean(before),
        )

    def _release(self, before: int) -> int:
        with self._database.read() as connection:
            candidates = version_store.retired_before(connection, before)
        for model, number in candidates:
            with self._database.write() as connection:
                digests = version_store.release_blobs(connection, model, number)
                if not digests:
                    continue  # another collector was faster
                audit.record(
                    connection,
                    "version.artifact_released",
                    "version",
                    f"{model}/{number}",
                    at_ms=self._clock(),
                    before={"blobs": digests},
                )
        return len(candidates)

    def _sweep(self, before: int) -> int:
        with self._database.read() as connection:
            candidates = store.marked_before(connection, before)
        return sum(self._sweep_one(digest, before) for digest in candidates)

    def _sweep_one(self, digest: str, before: int) -> bool:
        with self._database.write() as connection:
            found = store.lock(connection, [digest]).get(digest)
            if found is None:
                return False
            if found.state != store.SWEEPING:
                if found.marked_at is None or found.marked_at > before:
                    return False  # a push has claimed it since
                if store.is_referenced(connection, digest):
                    store.unmark(connection, [digest])
                    return False
                store.set_state(connection, digest, store.SWEEPING)
        # Committed: whatever happens now, nobody relies on the blob until it is uploaded again.
        with self._database.write() as connection:
            found = store.lock(connection, [digest]).get(digest)
            if found is None or found.state != store.SWEEPING:
                return False  # uploaded again meanwhile
            self._store.delete(digest)
            store.delete(connection, digest)
            audit.record(
                connection,
                "blob.collected",
                "blob",
                digest,
                at_ms=self._clock(),
                before={"size": found.size, "created_at": found.created_at},
            )
        return True

    def _adopt_orphans(self, before: int) -> int:
        adopted = 0
        with self._database.read() as connection:
            known = store.digests(connection)
        for stored in self._store.list():
            # A young one is perhaps a push between its bytes and its row.
            if stored.digest in known or stored.modified_ms > before:
                continue
            with self._database.write() as connection:
                now = self._clock()
                store.ensure(connection, stored.digest, stored.size, now)
                found = store.lock(connection, [stored.digest])[stored.digest]
                if found.state != store.SWEEPING:
                    continue  # a push has just completed it
                store.set_present(connection, stored.digest, stored.size)
                store.set_marked(connection, stored.digest, now)
            adopted += 1
        return adopted
