"""Blobs: only bytes with the right digest ever reach an engine."""

import stat
from pathlib import Path

import pytest

from protocol.manifest import Blob, Manifest, sha256_digest
from runtime.files import blob_path
from serving.fetch import BlobCache, FetchError
from tests.serving import models
from tests.serving.fake_control import FakeControl

DATA = bytes(range(256)) * 40


def manifest(data: bytes = DATA, *files: Blob) -> Manifest:
    blob = Blob(digest=sha256_digest(data), size=len(data))
    return Manifest(
        model="m", artifact=blob, files=files, inputs=(), outputs=(), opsets={}, ir_version=9
    )


async def test_files_are_staged_as_private_copies(tmp_path: Path) -> None:
    control = FakeControl()
    weights = b"weights"
    control.add_blob(DATA)
    control.add_blob(weights)
    file = Blob(digest=sha256_digest(weights), size=len(weights), path="data/w.bin")
    async with control.client() as client:
        cache = BlobCache(tmp_path, client)
        await cache.stage(manifest(DATA, file), tmp_path / "engine")
        await cache.stage(manifest(DATA, file), tmp_path / "other")
    artifact = tmp_path / "engine" / "model.onnx"
    assert artifact.read_bytes() == DATA
    assert artifact.stat().st_nlink == 1
    assert not artifact.is_symlink()
    assert stat.S_IMODE((tmp_path / "engine").stat().st_mode) == 0o700
    assert (tmp_path / "engine" / "data" / "w.bin").read_bytes() == weights
    assert len(control.ranges) == 2, "each blob is fetched once"


async def test_a_broken_transfer_continues_where_it_stopped(tmp_path: Path) -> None:
    control = FakeControl()
    control.add_blob(DATA)
    control.cut_after = 1000
    async with control.client() as client:
        cache = BlobCache(tmp_path, client)
        with pytest.raises(FetchError, match="cannot fetch"):
            await cache.stage(manifest(), tmp_path / "engine")
        await cache.stage(manifest(), tmp_path / "engine")
    assert control.ranges == [None, "bytes=1000-"]
    assert (tmp_path / "engine" / "model.onnx").read_bytes() == DATA


async def test_a_cached_blob_that_was_damaged_is_fetched_again(tmp_path: Path) -> None:
    control = FakeControl()
    control.add_blob(DATA)
    async with control.client() as client:
        cache = BlobCache(tmp_path, client)
        await cache.stage(manifest(), tmp_path / "engine")
        (cached,) = (tmp_path / "blobs").iterdir()
        cached.write_bytes(DATA[:-1] + b"x")
        await cache.stage(manifest(), tmp_path / "engine")
    assert (tmp_path / "engine" / "model.onnx").read_bytes() == DATA
    assert len(control.ranges) == 2


async def test_a_blob_with_another_digest_never_arrives(tmp_path: Path) -> None:
    control = FakeControl()
    control.blobs[sha256_digest(DATA)] = DATA[::-1]
    async with control.client() as client:
        cache = BlobCache(tmp_path, client)
        with pytest.raises(FetchError, match="arrived with another digest"):
            await cache.stage(manifest(), tmp_path / "engine")
    assert not list((tmp_path / "blobs").iterdir())
    assert not list((tmp_path / "partial").iterdir())


async def test_a_blob_larger_than_announced_is_cut_off(tmp_path: Path) -> None:
    control = FakeControl()
    control.blobs[sha256_digest(DATA)] = DATA * 2
    async with control.client() as client:
        with pytest.raises(FetchError, match="is larger than its manifest says"):
            await BlobCache(tmp_path, client).stage(manifest(), tmp_path / "engine")


@pytest.mark.parametrize("path", ["", "/etc/x", "../x", "a/../../x", "model.onnx", "a\\b", "."])
async def test_a_bundle_cannot_leave_its_folder(tmp_path: Path, path: str) -> None:
    control = FakeControl()
    control.add_blob(DATA)
    file = Blob(digest=sha256_digest(DATA), size=len(DATA), path=path)
    async with control.client() as client:
        with pytest.raises(FetchError, match="is not allowed"):
            await BlobCache(tmp_path, client).stage(manifest(DATA, file), tmp_path / "engine")


async def test_a_digest_that_is_none_names_no_file(tmp_path: Path) -> None:
    blob = Blob(digest="sha256:../../x", size=1)
    bad = Manifest(model="m", artifact=blob, inputs=(), outputs=(), opsets={}, ir_version=9)
    async with FakeControl().client() as client:
        with pytest.raises(FetchError, match="is no digest"):
            await BlobCache(tmp_path, client).stage(bad, tmp_path / "engine")


async def test_blobs_of_unloaded_versions_are_dropped(tmp_path: Path) -> None:
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    control.add_blob(DATA)
    async with control.client() as client:
        cache = BlobCache(tmp_path, client)
        await cache.stage(manifest(), tmp_path / "a")
        await cache.stage(models.manifest_of(graph), tmp_path / "b")
        cache.keep_only([manifest()])
    (kept,) = (tmp_path / "blobs").iterdir()
    assert sha256_digest(kept.read_bytes()) == sha256_digest(DATA)


def beside(folder: Path, data: bytes, *, stored: bytes | None = None) -> Path:
    """Control's folder of blobs, with ``data`` in it, or what is ``stored`` in its place."""
    place = blob_path(folder, sha256_digest(data).removeprefix("sha256:"))
    place.parent.mkdir(parents=True)
    place.write_bytes(data if stored is None else stored)
    return place


@pytest.mark.parametrize("urgent", [True, False])
async def test_a_blob_that_control_keeps_on_this_machine_is_not_fetched(
    tmp_path: Path, urgent: bool
) -> None:
    control = FakeControl()
    place = beside(tmp_path / "control", DATA)
    async with control.client() as client:
        cache = BlobCache(tmp_path, client, tmp_path / "control")
        await cache.stage(manifest(), tmp_path / "engine", urgent=urgent)
        assert cache.has(manifest())
    artifact = tmp_path / "engine" / "model.onnx"
    assert artifact.read_bytes() == DATA
    assert place.stat().st_nlink == 1, "the engine has a copy of its own"
    assert control.ranges == []
    assert not any((tmp_path / "blobs").iterdir()), "it is on this machine once"


async def test_a_blob_that_is_damaged_on_this_machine_is_fetched_and_left_there(
    tmp_path: Path,
) -> None:
    control = FakeControl()
    control.add_blob(DATA)
    place = beside(tmp_path / "control", DATA, stored=DATA[:-1] + b"x")
    async with control.client() as client:
        cache = BlobCache(tmp_path, client, tmp_path / "control")
        await cache.stage(manifest(), tmp_path / "engine")
    assert (tmp_path / "engine" / "model.onnx").read_bytes() == DATA
    assert place.read_bytes() == DATA[:-1] + b"x", "it is control's"
    assert control.ranges == [None]
