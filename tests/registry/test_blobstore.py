"""The contract of blob stores, run over all of them."""

import threading
import time
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore, S3Store

from protocol.errors import Code, TollwayError
from protocol.manifest import sha256_digest
from registry.blobstore import BlobStore, open_blob_store
from registry.blobstore_local import LocalBlobStore
from registry.blobstore_object import RANGE_BYTES, ObjectBlobStore
from tests.fixtures.seaweed import S3Server

Source = Callable[[bytes], Path]


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> S3Store:
    """A bucket on the S3 server, and a prefix inside it."""
    whole = _s3(s3_server.endpoint, s3_server.access_key, s3_server.secret_key)
    url = obstore.sign(whole, "PUT", "", expires_in=timedelta(minutes=5))
    urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=10).close()
    return _s3(s3_server.endpoint, s3_server.access_key, s3_server.secret_key, prefix="registry")


def _s3(endpoint: str, access_key: str, secret_key: str, prefix: str | None = None) -> S3Store:
    return S3Store(
        "blobs",
        prefix=prefix,
        endpoint=endpoint,
        access_key_id=access_key,
        secret_access_key=secret_key,
        region="us-east-1",
        client_options={"allow_http": True, "connect_timeout": "5s"},
        retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=5)},
    )


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """One store after the other."""
    if request.param == "local":
        return LocalBlobStore(tmp_path / "blobs")
    if request.param == "memory":
        return ObjectBlobStore(MemoryStore())
    return ObjectBlobStore(request.getfixturevalue("bucket"))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Writes bytes to a file to store them from."""

    def write(data: bytes) -> Path:
        path = tmp_path / sha256_digest(data)[7:20]
        path.write_bytes(data)
        return path

    return write


def test_what_is_stored_is_read_back(store: BlobStore, source: Source) -> None:
    for data in (b"", b"x", bytes(range(256)) * 5000, b"y" * (RANGE_BYTES + 1)):
        digest = sha256_digest(data)
        store.put(digest, source(data))
        assert store.size(digest) == len(data)
        assert b"".join(store.read(digest)) == data
        for start in (1, len(data) // 2, len(data), len(data) + 5):
            assert b"".join(store.read(digest, start)) == data[start:]


def test_bytes_with_another_digest_leave_nothing(store: BlobStore, source: Source) -> None:
    announced = sha256_digest(b"announced")
    with pytest.raises(TollwayError) as refused:
        store.put(announced, source(b"something else"))
    assert refused.value.code is Code.DIGEST_MISMATCH
    assert store.size(announced) is None
    assert announced not in {blob.digest for blob in store.list()}


def test_what_is_not_there_has_no_size_and_cannot_be_read(store: BlobStore) -> None:
    digest = sha256_digest(b"never stored")
    assert store.size(digest) is None
    with pytest.raises(TollwayError) as missing:
        store.read(digest)
    assert missing.value.code is Code.NOT_FOUND


def test_deleting_is_final_and_may_be_repeated(store: BlobStore, source: Source) -> None:
    digest = sha256_digest(b"delete me")
    store.put(digest, source(b"delete me"))
    for _ in range(2):
        store.delete(digest)
        assert store.size(digest) is None


def test_storing_again_changes_nothing(store: BlobStore, source: Source) -> None:
    data = b"twice"
    for _ in range(2):
        store.put(sha256_digest(data), source(data))
    assert b"".join(store.read(sha256_digest(data))) == data


def test_the_list_names_every_blob_with_size_and_time(store: BlobStore, source: Source) -> None:
    wanted = {sha256_digest(bytes([n]) * n): n for n in range(1, 6)}
    for digest, n in wanted.items():
        store.put(digest, source(bytes([n]) * n))
    found = {blob.digest: blob for blob in store.list()}
    assert {digest: found[digest].size for digest in wanted} == wanted
    now = time.time() * 1000
    assert all(abs(found[digest].modified_ms - now) < 120_000 for digest in wanted)


def test_writers_of_the_same_blob_do_not_disturb_each_other(
    store: BlobStore, source: Source
) -> None:
    data = b"contested" * 20_000
    path, digest = source(data), sha256_digest(data)
    failures: list[Exception] = []

    def write() -> None:
        try:
            store.put(digest, path)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert b"".join(store.read(digest)) == data


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "sha256:../../x", "sha256:ABC"])
def test_what_is_not_a_digest_never_becomes_a_path(
    store: BlobStore, source: Source, digest: str
) -> None:
    for call in (store.read, store.size, store.delete):
        with pytest.raises(TollwayError) as refused:
            call(digest)
        assert refused.value.code is Code.INVALID


def test_nothing_is_left_to_clean_after_whole_writes(store: BlobStore, source: Source) -> None:
    store.put(sha256_digest(b"whole"), source(b"whole"))
    assert store.clean(2**53) == 0


def test_a_store_that_does_not_answer_is_unavailable() -> None:
    nobody = _s3("http://127.0.0.1:9", "a", "b")
    with pytest.raises(TollwayError) as refused:
        ObjectBlobStore(nobody).size(sha256_digest(b"x"))
    assert refused.value.code is Code.UNAVAILABLE


def test_a_location_says_which_store_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(open_blob_store(str(tmp_path / "a")), LocalBlobStore)
    assert isinstance(open_blob_store(f"file://{tmp_path / 'b'}"), LocalBlobStore)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert isinstance(open_blob_store("s3://bucket/prefix"), ObjectBlobStore)


def test_local_blobs_are_private_real_files(tmp_path: Path, source: Source) -> None:
    store = LocalBlobStore(tmp_path / "blobs")
    store.put(sha256_digest(b"secret"), source(b"secret"))
    (path,) = [p for p in (tmp_path / "blobs").rglob("*") if p.is_file()]
    status = path.stat()
    assert (status.st_mode & 0o777, status.st_nlink, path.is_symlink()) == (0o600, 1, False)
