"""A registry over each database, and a hand to publish with."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import TollwayError
from protocol.manifest import Blob, sha256_digest
from registry.blobstore_local import LocalBlobStore
from registry.inspect import Inspection, inspect_bundle
from registry.publish import VersionRequest
from registry.service import Registry, create_registry
from registry.settings import RegistrySettings
from registry.status import ServingStatus
from registry.store.blobs import BlobRecord
from registry.store.database import Database
from registry.store.versions import VersionRecord
from tests.registry import models_onnx

Crowd = Callable[[int, Callable[[int], Any]], list[Any]]
"""``crowd(count, work)``: see the fixture."""


class FakeClock:
    """UNIX milliseconds that move when they are told to. Starts at the real time, because files
    carry real times."""

    def __init__(self) -> None:
        self.now = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


@dataclass
class Bench:
    """A registry and what it was built from."""

    registry: Registry
    store: LocalBlobStore
    clock: FakeClock
    settings: RegistrySettings
    folder: Path
    serving: dict[tuple[str, int], ServingStatus] = field(default_factory=dict)

    def upload(self, data: bytes) -> Blob:
        """Bring ``data`` in as a publisher does."""
        uploads = self.registry.uploads
        begun = uploads.begin(sha256_digest(data), len(data), actor="ann")
        if not isinstance(begun, BlobRecord):
            piece = uploads.open_piece(begun.id, 0, len(data))
            piece.write(data)
            piece.close()
            uploads.complete(begun.id)
        return Blob(digest=sha256_digest(data), size=len(data))

    def publish(self, model: str = "credit", data: bytes | None = None) -> VersionRecord:
        """Register a version of ``model`` and return it."""
        content = models_onnx.linear().SerializeToString() if data is None else data
        self.registry.models.put(model)
        request = VersionRequest(artifact=self.upload(content))
        return self.registry.publisher.publish(model, request, actor="ann")[0]

    def to_state(self, version: VersionRecord, state: str) -> VersionRecord:
        """Walk the version to ``state``."""
        self.serving[version.model, version.number] = ServingStatus(state="ready")
        for step in ("validated", "approved", "published", "deprecated", "retired"):
            version = self.registry.lifecycle.transition(
                version.model, version.number, step, actor="ann"
            )
            if step == state:
                return version
        raise AssertionError(state)

    def to_state_after(self, version: VersionRecord, state: Any) -> VersionRecord:
        """Take one step, from whatever state the version is in."""
        return self.registry.lifecycle.transition(version.model, version.number, state, actor="ann")


_INSPECTED: dict[bytes, Inspection | TollwayError] = {}


def remembered(
    artifact: Path, files: dict[str, int], *, timeout_s: float, memory_bytes: int
) -> Inspection:
    """The real inspection, once per model and test session: it starts a process each time."""
    key = artifact.read_bytes() + repr(sorted(files.items())).encode()
    if key not in _INSPECTED:
        try:
            _INSPECTED[key] = inspect_bundle(
                artifact, files, timeout_s=timeout_s, memory_bytes=memory_bytes
            )
        except TollwayError as error:
            _INSPECTED[key] = error
    found = _INSPECTED[key]
    if isinstance(found, TollwayError):
        raise found
    return found


def make_bench(database: Database, folder: Path, **settings: Any) -> Bench:
    """A registry in ``folder``."""
    clock = FakeClock()
    store = LocalBlobStore(folder / "blobs")
    chosen = RegistrySettings(
        staging_dir=folder / "staging", gc_grace_s=3600.0, upload_ttl_s=600.0, **settings
    )
    serving: dict[tuple[str, int], ServingStatus] = {}
    registry = create_registry(
        database,
        store,
        chosen,
        clock=clock,
        serving_status=lambda model, number: serving.get((model, number), ServingStatus()),
        inspect=remembered,
    )
    return Bench(registry, store, clock, chosen, folder, serving)


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    """A registry on SQLite, and again on PostgreSQL."""
    return make_bench(database, tmp_path)


@pytest.fixture
def small_bench(sqlite_database: Database, tmp_path: Path) -> Bench:
    """A registry on SQLite, for what has nothing to do with SQL."""
    return make_bench(sqlite_database, tmp_path)


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    """Runs a function in several threads at the same moment, and gives results or exceptions."""
    pool = ThreadPoolExecutor(16)

    def run(count: int, work: Callable[[int], Any]) -> list[Any]:
        barrier = threading.Barrier(count)

        def one(index: int) -> Any:
            barrier.wait(timeout=30)
            try:
                return work(index)
            except Exception as error:
                return error

        return list(pool.map(one, range(count)))

    yield run
    pool.shutdown()
