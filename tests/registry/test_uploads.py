"""Uploads: resumable, checked, and invisible until they are whole."""

import hashlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from protocol.errors import Code, TollwayError
from protocol.manifest import sha256_digest
from registry.blobstore_local import LocalBlobStore
from registry.service import create_registry
from registry.store import uploads as store
from registry.store.blobs import BlobRecord
from registry.store.uploads import UploadRecord
from registry.uploads import OffsetConflict
from tests.registry.conftest import Bench, Crowd

DATA = bytes(range(256)) * 8


def begin(bench: Bench, data: bytes = DATA, announced: bytes | None = None) -> UploadRecord:
    digest = sha256_digest(data if announced is None else announced)
    record = bench.registry.uploads.begin(digest, len(data), actor="ann")
    assert isinstance(record, UploadRecord)
    return record


def send(bench: Bench, id: str, offset: int, data: bytes) -> None:
    piece = bench.registry.uploads.open_piece(id, offset, len(data))
    try:
        piece.write(data)
    finally:
        piece.close()


def test_a_blob_is_there_after_completion_and_not_before(bench: Bench) -> None:
    record = begin(bench)
    send(bench, record.id, 0, DATA)
    with pytest.raises(TollwayError) as missing:
        bench.registry.blobs.get(record.digest)
    assert missing.value.code is Code.NOT_FOUND
    blob = bench.registry.uploads.complete(record.id)
    assert (blob.digest, blob.size) == (record.digest, len(DATA))
    assert b"".join(bench.registry.blobs.open(record.digest)[1]) == DATA
    with pytest.raises(TollwayError):
        bench.registry.uploads.get(record.id)
    assert list((bench.settings.staging_dir / "uploads").iterdir()) == []


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cuts=st.lists(st.integers(0, len(DATA)), max_size=4))
def test_pieces_cut_anywhere_and_resumed_by_another_process_are_the_whole(
    small_bench: Bench, cuts: list[int]
) -> None:
    data = DATA + repr(cuts).encode()
    record = begin(small_bench, data)
    bounds = [0, *sorted(cuts), len(data)]
    dead = []
    for start, end in pairwise(bounds):
        # A fresh registry knows of the upload only what a crash leaves: its row and its file.
        again = create_registry(
            small_bench.registry.database, small_bench.store, small_bench.settings
        )
        assert again.uploads.offset(record.id) == start
        piece = again.uploads.open_piece(record.id, start)
        piece.write(data[start:end])
        dead.append(piece)  # not closed: the process dies here
    finished = create_registry(
        small_bench.registry.database, small_bench.store, small_bench.settings
    )
    assert finished.uploads.complete(record.id).digest == sha256_digest(data)
    for piece in dead:
        piece.close()


def test_a_piece_elsewhere_than_at_the_offset_is_told_the_offset(bench: Bench) -> None:
    record = begin(bench)
    send(bench, record.id, 0, DATA[:100])
    for wrong in (0, 99, 101):
        with pytest.raises(OffsetConflict) as conflict:
            bench.registry.uploads.open_piece(record.id, wrong)
        assert conflict.value.offset == 100
    assert bench.registry.uploads.offset(record.id) == 100


def test_two_pieces_at_once_do_not_mix(bench: Bench, crowd: Crowd) -> None:
    record = begin(bench)
    held = bench.registry.uploads.open_piece(record.id, 0)
    with pytest.raises(OffsetConflict):
        bench.registry.uploads.open_piece(record.id, 0)
    with pytest.raises(OffsetConflict):
        bench.registry.uploads.complete(record.id)
    held.close()

    def write(index: int) -> object:
        send(bench, record.id, 0, bytes([index]) * 512)
        return index

    results = crowd(6, write)
    winners = [result for result in results if isinstance(result, int)]
    assert len(winners) >= 1
    staged = (bench.settings.staging_dir / "uploads" / record.id).read_bytes()
    assert staged == bytes([winners[0]]) * 512


def test_a_wrong_digest_removes_the_upload_and_leaves_no_blob(bench: Bench) -> None:
    record = begin(bench, DATA, announced=b"something else")
    send(bench, record.id, 0, DATA)
    with pytest.raises(TollwayError) as refused:
        bench.registry.uploads.complete(record.id)
    assert refused.value.code is Code.DIGEST_MISMATCH
    assert hashlib.sha256(DATA).hexdigest() in refused.value.public
    with pytest.raises(TollwayError) as gone:
        bench.registry.uploads.get(record.id)
    assert gone.value.code is Code.NOT_FOUND
    assert list(bench.store.list()) == []
    assert [path for path in bench.folder.rglob("*") if path.is_file() and path.suffix == ""] == []


def test_an_unfinished_upload_cannot_be_completed(bench: Bench) -> None:
    record = begin(bench)
    send(bench, record.id, 0, DATA[:-1])
    with pytest.raises(OffsetConflict, match="send the rest"):
        bench.registry.uploads.complete(record.id)
    send(bench, record.id, len(DATA) - 1, DATA[-1:])
    assert bench.registry.uploads.complete(record.id).size == len(DATA)


def test_more_than_was_announced_is_refused_and_taken_back(small_bench: Bench) -> None:
    record = begin(small_bench)
    send(small_bench, record.id, 0, DATA[:10])
    with pytest.raises(TollwayError) as refused:
        small_bench.registry.uploads.open_piece(record.id, 10, len(DATA))
    assert refused.value.code is Code.TOO_LARGE
    piece = small_bench.registry.uploads.open_piece(record.id, 10)
    piece.write(DATA[10:-1])
    with pytest.raises(TollwayError) as refused:
        piece.write(b"xx")
    piece.close()
    assert refused.value.code is Code.TOO_LARGE
    assert small_bench.registry.uploads.offset(record.id) == 10


def test_a_crash_while_a_blob_is_stored_leaves_nothing_visible(
    small_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = begin(small_bench)
    send(small_bench, record.id, 0, DATA)
    for moment in ("replace", "unlink"):

        def crash(self: Path, *_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Path, moment, crash)
            with pytest.raises(KeyboardInterrupt):
                LocalBlobStore.put(small_bench.store, record.digest, _staged(small_bench, record))
        if moment == "replace":
            assert list(small_bench.store.list()) == []
        with pytest.raises(TollwayError):
            small_bench.registry.blobs.get(record.digest)
    assert small_bench.registry.uploads.complete(record.id).digest == record.digest


def _staged(bench: Bench, record: UploadRecord) -> Path:
    return bench.settings.staging_dir / "uploads" / record.id


def test_what_is_there_already_needs_no_upload(bench: Bench) -> None:
    blob = bench.upload(DATA)
    found = bench.registry.uploads.begin(blob.digest, blob.size, actor="bob")
    assert isinstance(found, BlobRecord)
    with pytest.raises(TollwayError) as refused:
        bench.registry.uploads.begin(blob.digest, blob.size + 1, actor="bob")
    assert refused.value.code is Code.INVALID


def test_two_who_upload_the_same_bytes_both_succeed(bench: Bench, crowd: Crowd) -> None:
    records = [begin(bench) for _ in range(4)]
    for record in records:
        send(bench, record.id, 0, DATA)
    results = crowd(4, lambda index: bench.registry.uploads.complete(records[index].id).digest)
    assert set(results) == {sha256_digest(DATA)}


def test_expired_uploads_are_forgotten_and_others_are_not(bench: Bench) -> None:
    old = begin(bench)
    bench.clock.advance(400)
    young = begin(bench, DATA + b"1")
    touched = begin(bench, DATA + b"2")
    bench.clock.advance(300)
    send(bench, touched.id, 0, b"x")
    assert bench.registry.uploads.expire() == 1
    with pytest.raises(TollwayError):
        bench.registry.uploads.get(old.id)
    bench.clock.advance(350)
    assert bench.registry.uploads.expire() == 1
    assert bench.registry.uploads.get(touched.id).digest == touched.digest
    with pytest.raises(TollwayError):
        bench.registry.uploads.get(young.id)
    assert not _staged(bench, old).exists()


def test_an_upload_that_goes_on_while_others_expire_is_kept(
    small_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = begin(small_bench)
    small_bench.clock.advance(700)
    expired = store.expired

    def and_then_a_piece_comes(connection: Connection, now: int) -> list[str]:
        gone = expired(connection, now)
        connection.rollback()  # SQLite: the piece's transaction is another
        send(small_bench, record.id, 0, DATA[:5])
        return gone

    monkeypatch.setattr(store, "expired", and_then_a_piece_comes)
    assert small_bench.registry.uploads.expire() == 0
    assert small_bench.registry.uploads.offset(record.id) == 5


def test_a_staged_file_without_a_row_is_cleaned_in_time(small_bench: Bench) -> None:
    stray = small_bench.settings.staging_dir / "uploads" / ("0" * 32)
    stray.write_bytes(b"left by a crash between file and row")
    assert small_bench.registry.uploads.expire() == 0
    small_bench.clock.advance(700)
    assert small_bench.registry.uploads.expire() == 1
    assert not stray.exists()


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:" + "g" * 64, "md5:" + "0" * 64, "../x"])
def test_what_is_not_a_digest_is_refused(small_bench: Bench, digest: str) -> None:
    with pytest.raises(TollwayError) as refused:
        small_bench.registry.uploads.begin(digest, 1, actor="ann")
    assert refused.value.code is Code.INVALID


def test_an_empty_blob_is_a_blob(small_bench: Bench) -> None:
    record = begin(small_bench, b"")
    assert small_bench.registry.uploads.complete(record.id).size == 0
