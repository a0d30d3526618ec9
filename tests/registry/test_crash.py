"""A process killed at any byte of an upload leaves nothing that anybody can see."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from protocol.errors import Code, TollwayError
from protocol.manifest import sha256_digest
from registry.blobstore_local import LocalBlobStore
from registry.service import create_registry
from registry.uploads import Uploads
from tests.registry.conftest import Bench

DATA = bytes(range(256)) * 40_000
STORE = """
import sys
from pathlib import Path
from registry.blobstore_local import LocalBlobStore
LocalBlobStore(Path(sys.argv[1])).put(sys.argv[2], Path(sys.argv[3]))
"""
DEADLINE_S = 30


@pytest.mark.parametrize("arrived", [0, 1, len(DATA) // 2, len(DATA)])
def test_a_store_killed_while_it_writes_shows_nothing(tmp_path: Path, arrived: int) -> None:
    """The source is a pipe that never ends, so the process is inside the write when it dies."""
    folder, pipe = tmp_path / "blobs", tmp_path / "pipe"
    os.mkfifo(pipe)
    digest = sha256_digest(DATA)
    process = subprocess.Popen([sys.executable, "-c", STORE, str(folder), digest, str(pipe)])
    try:
        with pipe.open("wb", buffering=0) as source:
            source.write(DATA[:arrived])
            _wait_until_read(source.fileno())
            process.send_signal(signal.SIGKILL)
            assert process.wait(DEADLINE_S) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
    store = LocalBlobStore(folder)
    assert store.size(digest) is None
    assert list(store.list()) == []
    with pytest.raises(TollwayError) as missing:
        store.read(digest)
    assert missing.value.code is Code.NOT_FOUND
    assert store.clean(2**53) == 1
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def _wait_until_read(descriptor: int) -> None:
    import fcntl
    import struct
    import termios

    deadline = time.monotonic() + DEADLINE_S
    while struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4))[0]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_crash_between_a_blob_s_bytes_and_its_row_is_repaired_by_completing_again(
    small_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = small_bench.registry.uploads
    data = b"bytes first, row second"
    record = uploads.begin(sha256_digest(data), len(data), actor="ann")
    piece = uploads.open_piece(record.id, 0)  # type: ignore[union-attr]
    piece.write(data)
    piece.close()
    with monkeypatch.context() as patch:
        patch.setattr("registry.store.blobs.ensure", _crash)
        with pytest.raises(KeyboardInterrupt):
            uploads.complete(record.id)  # type: ignore[union-attr]
    with pytest.raises(TollwayError):
        small_bench.registry.blobs.get(record.digest)
    with monkeypatch.context() as patch:
        patch.setattr(Uploads, "_remove", _crash)
        with pytest.raises(KeyboardInterrupt):
            uploads.complete(record.id)  # type: ignore[union-attr]
    again = create_registry(small_bench.registry.database, small_bench.store, small_bench.settings)
    assert again.uploads.complete(record.id).digest == record.digest  # type: ignore[union-attr]
    assert [blob.digest for blob in small_bench.store.list()] == [record.digest]


def test_a_bundle_left_by_a_crash_is_removed_in_time(small_bench: Bench) -> None:
    left = small_bench.settings.staging_dir / "bundles" / "left"
    left.mkdir()
    (left / "model.onnx").write_bytes(b"x")
    small_bench.registry.maintain()
    assert left.exists()
    small_bench.clock.advance(24 * 3600)
    small_bench.registry.maintain()
    assert not left.exists()


def _crash(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
