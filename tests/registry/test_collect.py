"""Garbage collection: nothing that a version needs or a push is bringing is ever collected."""

import os
from pathlib import Path

import pytest

from protocol.errors import Code, TollwayError
from protocol.manifest import Blob, sha256_digest
from registry.blobs import Blobs
from registry.collect import Collector
from registry.publish import VersionRequest
from registry.store.blobs import BlobRecord
from tests.registry import models_onnx
from tests.registry.conftest import Bench, Crowd

GRACE_S = 3600


def test_an_unreferenced_blob_goes_after_two_collections_and_the_grace_period(
    bench: Bench,
) -> None:
    blob = bench.upload(b"nobody needs this")
    assert bench.registry.collector.collect().marked == 1
    bench.clock.advance(GRACE_S - 1)
    assert bench.registry.collector.collect().swept == 0
    bench.clock.advance(1)
    assert bench.registry.collector.collect().swept == 1
    assert bench.store.size(blob.digest) is None
    with pytest.raises(TollwayError):
        bench.registry.blobs.get(blob.digest)


def test_a_blob_is_kept_while_any_version_needs_it(bench: Bench) -> None:
    shared = bench.publish("a").manifest.artifact
    assert bench.publish("b").manifest.artifact == shared
    bench.registry.lifecycle.transition("a", 1, "rejected", actor="ann")
    for _ in range(3):
        bench.clock.advance(GRACE_S + 1)
        result = bench.registry.collector.collect()
        assert (result.marked, result.swept) == (0, 0)
    assert bench.store.size(shared.digest) == shared.size


def test_an_announced_push_starts_the_grace_period_anew(bench: Bench) -> None:
    blob = bench.upload(b"pushed again")
    bench.registry.collector.collect()
    bench.clock.advance(GRACE_S)
    assert isinstance(bench.registry.uploads.begin(blob.digest, blob.size, actor="a"), BlobRecord)
    assert bench.registry.collector.collect().swept == 0
    bench.clock.advance(GRACE_S - 1)
    assert bench.registry.collector.collect().swept == 0
    assert bench.store.size(blob.digest) == blob.size


def test_a_marked_blob_that_a_version_comes_to_need_is_kept(bench: Bench) -> None:
    bench.upload(models_onnx.linear().SerializeToString())
    bench.registry.collector.collect()
    version = bench.publish()
    bench.clock.advance(GRACE_S * 2)
    assert bench.registry.collector.collect().swept == 0
    assert bench.store.size(version.manifest.artifact.digest) is not None


def test_a_publisher_whose_blob_was_swept_meanwhile_is_told_to_upload_it_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = models_onnx.linear().SerializeToString()
    request = VersionRequest(artifact=bench.upload(data))
    bench.registry.models.put("credit")
    publisher = bench.registry.publisher
    inspected = publisher._inspect

    def slow(request: VersionRequest, artifact: Blob) -> object:
        found = inspected(request, artifact)
        # An inspection so long that the grace period passes over it.
        bench.registry.collector.collect()
        bench.clock.advance(GRACE_S)
        assert bench.registry.collector.collect().swept == 1
        return found

    with monkeypatch.context() as patch:
        patch.setattr(publisher, "_inspect", slow)
        with pytest.raises(TollwayError, match="upload it first") as refused:
            publisher.publish("credit", request, actor="ann")
    assert refused.value.code is Code.INVALID
    assert bench.publish(data=data).number == 1


def test_a_push_wins_against_a_sweep_that_has_decided_but_not_deleted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"contested"
    blob = bench.upload(data)
    bench.registry.collector.collect()
    bench.clock.advance(GRACE_S)
    deleting = bench.store.delete

    def sweep_of_a_stopped_process(digest: str) -> None:
        raise OSError("the process died before it deleted anything")

    monkeypatch.setattr(bench.store, "delete", sweep_of_a_stopped_process)
    with pytest.raises(OSError, match="died"):
        bench.registry.collector.collect()
    monkeypatch.setattr(bench.store, "delete", deleting)
    assert bench.registry.blobs.claim(blob.digest) is None
    bench.upload(data)
    assert bench.registry.collector.collect().swept == 0
    assert b"".join(bench.registry.blobs.open(blob.digest)[1]) == data


def test_a_sweep_that_was_interrupted_is_finished_by_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = bench.upload(b"half gone")
    bench.registry.collector.collect()
    bench.clock.advance(GRACE_S)

    def fails(digest: str) -> None:
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "delete", fails)
        with pytest.raises(OSError, match="no"):
            bench.registry.collector.collect()
    with pytest.raises(TollwayError):
        bench.registry.blobs.get(blob.digest)
    assert bench.registry.collector.collect().swept == 1
    assert bench.store.size(blob.digest) is None


def test_bytes_deleted_between_a_push_s_bytes_and_its_row_are_stored_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"raced"
    source = tmp_path / "source"
    source.write_bytes(data)
    digest = sha256_digest(data)
    put = bench.store.put
    puts = []

    def put_and_lose(target: str, path: Path) -> None:
        put(target, path)
        puts.append(target)
        if len(puts) == 1:
            bench.store.delete(target)

    monkeypatch.setattr(bench.store, "put", put_and_lose)
    blobs = Blobs(bench.registry.database, bench.store, bench.clock)
    assert blobs.add(digest, source, "ann").size == len(data)
    assert len(puts) == 2
    assert b"".join(blobs.open(digest)[1]) == data


def test_pushes_and_collections_at_once_lose_nothing_that_is_needed(
    bench: Bench, crowd: Crowd
) -> None:
    """Collections without any grace beside publishers: who was told 'published' has the bytes."""
    registry = bench.registry
    eager = Collector(
        registry.database,
        bench.store,
        type(bench.settings)(staging_dir=bench.settings.staging_dir, gc_grace_s=0),
        bench.clock,
    )
    models = [models_onnx.linear(scale=scale).SerializeToString() for scale in (1.0, 2.0)]
    registry.models.put("credit")

    def work(index: int) -> object:
        if index < 2:
            for _ in range(6):
                eager.collect()
            return None
        request = VersionRequest(artifact=bench.upload(models[index % 2]), description=str(index))
        return registry.publisher.publish("credit", request, actor="ann")[0].manifest.artifact

    for result in crowd(6, work):
        if isinstance(result, TollwayError):
            # Collected before it was needed, and said so: never a silent loss.
            assert result.code in (Code.INVALID, Code.UNAVAILABLE, Code.NOT_FOUND)
        elif result is not None:
            assert not isinstance(result, Exception), result
            assert bench.store.size(result.digest) == result.size
    assert registry.integrity.scan().damaged == ()


def test_bytes_without_a_row_are_collected_and_young_ones_left_alone(bench: Bench) -> None:
    source = bench.folder / "source"
    source.write_bytes(b"a crash came before the row")
    digest = sha256_digest(source.read_bytes())
    bench.store.put(digest, source)
    assert bench.registry.collector.collect().orphans == 0
    bench.clock.advance(GRACE_S + 5)
    assert bench.registry.collector.collect().orphans == 1
    assert bench.store.size(digest) is not None
    bench.clock.advance(GRACE_S)
    assert bench.registry.collector.collect().swept == 1
    assert bench.store.size(digest) is None


def test_files_of_interrupted_writes_go_after_the_grace_period(small_bench: Bench) -> None:
    left = small_bench.folder / "blobs" / "temporary" / "abc"
    left.write_bytes(b"torn")
    assert small_bench.registry.collector.collect().temporary == 0
    old = small_bench.clock.now / 1000 - GRACE_S - 1
    os.utime(left, (old, old))
    assert small_bench.registry.collector.collect().temporary == 1
    assert not left.exists()
