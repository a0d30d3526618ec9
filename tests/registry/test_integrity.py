"""The integrity scan: what is damaged is said, taken out of use, and healed by uploading again."""

from pathlib import Path

import pytest

from protocol.errors import Code, TollwayError
from registry.integrity import Damage, Integrity
from registry.store.blobs import BlobRecord
from tests.registry import models_onnx
from tests.registry.conftest import Bench


def path_of(bench: Bench, digest: str) -> Path:
    digits = digest.removeprefix("sha256:")
    return bench.folder / "blobs" / "sha256" / digits[:2] / digits


def test_a_sound_store_has_no_damage(bench: Bench) -> None:
    blobs = [bench.upload(bytes([index]) * 100) for index in range(3)]
    report = bench.registry.integrity.scan()
    assert (report.blobs, report.bytes, report.damaged) == (len(blobs), 300, ())


def test_missing_and_corrupt_blobs_are_named_with_the_versions_that_need_them(
    bench: Bench,
) -> None:
    one = models_onnx.linear(scale=1.0).SerializeToString()
    two = models_onnx.linear(scale=2.0).SerializeToString()
    missing = bench.publish("a", one).manifest.artifact
    bench.publish("b", one)
    corrupt = bench.publish("a", two).manifest.artifact
    path_of(bench, missing.digest).unlink()
    path_of(bench, corrupt.digest).write_bytes(b"x" * corrupt.size)
    report = bench.registry.integrity.scan()
    assert set(report.damaged) == {
        Damage(digest=missing.digest, problem="missing", versions=("a/1", "b/1")),
        Damage(digest=corrupt.digest, problem="corrupt", versions=("a/2",)),
    }


def test_a_damaged_blob_is_not_offered_and_uploading_it_again_heals_it(bench: Bench) -> None:
    data = b"precious"
    blob = bench.upload(data)
    path_of(bench, blob.digest).write_bytes(b"rotten!!")
    bench.registry.integrity.scan()
    with pytest.raises(TollwayError) as missing:
        bench.registry.blobs.get(blob.digest)
    assert missing.value.code is Code.NOT_FOUND
    bench.upload(data)
    assert b"".join(bench.registry.blobs.open(blob.digest)[1]) == data
    assert bench.registry.integrity.scan().damaged == ()


@pytest.mark.parametrize("damage", ["missing", "corrupt"])
def test_a_blob_that_is_uploaded_again_while_it_is_read_stays_in_use(
    small_bench: Bench, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    data = b"precious"
    blob = small_bench.upload(data)
    if damage == "missing":
        path_of(small_bench, blob.digest).unlink()
    else:
        path_of(small_bench, blob.digest).write_bytes(b"rotten!!")
        assert len(small_bench.registry.integrity.scan().damaged) == 1
    problem = Integrity._problem

    def and_then_healed(self: Integrity, read: BlobRecord) -> object:
        found = problem(self, read)
        small_bench.upload(data)
        return found

    monkeypatch.setattr(Integrity, "_problem", and_then_healed)
    assert small_bench.registry.integrity.scan().damaged == ()
    assert b"".join(small_bench.registry.blobs.open(blob.digest)[1]) == data


def test_a_blob_whose_bytes_came_back_is_in_use_again(bench: Bench) -> None:
    blob = bench.upload(b"moved away")
    path = path_of(bench, blob.digest)
    aside = bench.folder / "aside"
    path.rename(aside)
    assert len(bench.registry.integrity.scan().damaged) == 1
    aside.rename(path)
    assert bench.registry.integrity.scan().damaged == ()
    assert bench.registry.blobs.get(blob.digest).size == blob.size


def test_a_damaged_artifact_is_not_published(small_bench: Bench) -> None:
    data = models_onnx.linear().SerializeToString()
    small_bench.registry.models.put("credit")
    blob = small_bench.upload(data)
    path_of(small_bench, blob.digest).write_bytes(b"y" * blob.size)
    with pytest.raises(TollwayError, match="damaged"):
        small_bench.publish(data=data)
