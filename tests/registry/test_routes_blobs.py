"""Blobs over the routes: uploads that go on where they stand, limits, and streams back."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from protocol.manifest import sha256_digest
from registry import routes_blobs
from registry.blobstore import CHUNK_BYTES
from registry.store.uploads import UploadRecord
from registry.uploads import Piece
from tests.registry.conftest import Bench
from tests.registry.routed import application, upload


@pytest.fixture
async def client(small_bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the routes, as a publisher."""
    transport = httpx.ASGITransport(application(small_bench))
    async with httpx.AsyncClient(transport=transport, base_url="http://t/api/v1") as found:
        yield found


async def test_an_upload_goes_on_where_it_stands(client: httpx.AsyncClient) -> None:
    data = b"0123456789" * 1000
    blob = {"digest": sha256_digest(data), "size": len(data)}
    begun = await client.post("/blobs/uploads", json=blob)
    assert (begun.status_code, begun.json()["offset"]) == (201, 0)
    path = begun.headers["location"].removeprefix("/api/v1")
    part = await client.patch(path, content=data[:3000], headers={"Upload-Offset": "0"})
    assert (part.status_code, part.headers["upload-offset"]) == (204, "3000")
    again = await client.patch(path, content=data[:3000], headers={"Upload-Offset": "0"})
    assert (again.status_code, again.headers["upload-offset"]) == (409, "3000")
    assert again.headers["content-type"] == "application/problem+json"
    early = await client.post(f"{path}/complete")
    assert (early.status_code, early.headers["upload-offset"]) == (409, "3000")
    asked = await client.head(path)
    assert (asked.status_code, asked.headers["upload-offset"]) == (200, "3000")
    await client.patch(path, content=data[3000:], headers={"Upload-Offset": "3000"})
    done = await client.post(f"{path}/complete")
    assert (done.status_code, done.json()) == (201, blob)
    there = await client.post("/blobs/uploads", json=blob)
    assert (there.status_code, there.json()) == (200, {"exists": True} | blob)


async def test_a_piece_needs_its_offset(client: httpx.AsyncClient) -> None:
    begun = await client.post("/blobs/uploads", json={"digest": sha256_digest(b"x"), "size": 1})
    path = f"/blobs/uploads/{begun.json()['id']}"
    assert (await client.patch(path, content=b"x")).status_code == 422
    for wrong in ("-1", "x", str(2**70)):
        refused = await client.patch(path, content=b"x", headers={"Upload-Offset": wrong})
        assert refused.status_code == 422


async def test_bytes_with_another_digest_are_refused_and_forgotten(
    client: httpx.AsyncClient,
) -> None:
    begun = await client.post("/blobs/uploads", json={"digest": sha256_digest(b"x"), "size": 1})
    path = f"/blobs/uploads/{begun.json()['id']}"
    await client.patch(path, content=b"y", headers={"Upload-Offset": "0"})
    refused = await client.post(f"{path}/complete")
    assert (refused.status_code, refused.json()["code"]) == (422, "digest_mismatch")
    assert (await client.head(path)).status_code == 404


async def test_what_is_too_large_is_refused_at_once_and_while_it_arrives(
    client: httpx.AsyncClient, small_bench: Bench
) -> None:
    limit = small_bench.settings.max_artifact_bytes
    huge = {"digest": sha256_digest(b"x"), "size": limit + 1}
    assert (await client.post("/blobs/uploads", json=huge)).status_code == 413
    begun = await client.post("/blobs/uploads", json={"digest": sha256_digest(b"x"), "size": 10})
    path = f"/blobs/uploads/{begun.json()['id']}"

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"z" * 65536

    refused = await client.patch(path, content=endless(), headers={"Upload-Offset": "0"})
    assert refused.status_code == 413
    assert (await client.head(path)).headers["upload-offset"] == "0"


async def test_an_upload_can_be_cancelled(client: httpx.AsyncClient) -> None:
    begun = await client.post("/blobs/uploads", json={"digest": sha256_digest(b"x"), "size": 1})
    path = f"/blobs/uploads/{begun.json()['id']}"
    assert (await client.delete(path)).status_code == 204
    assert (await client.delete(path)).status_code == 404


async def test_a_blob_streams_back(client: httpx.AsyncClient) -> None:
    data = bytes(range(256)) * 10_000
    blob = await upload(client, data)
    found = await client.get(f"/blobs/{blob['digest']}")
    assert found.content == data
    head = await client.head(f"/blobs/{blob['digest']}")
    assert (head.headers["content-length"], head.content) == (str(len(data)), b"")
    assert head.headers["etag"] == f'"{blob["digest"]}"'
    rest = await client.get(f"/blobs/{blob['digest']}", headers={"Range": "bytes=1000-"})
    assert (rest.status_code, rest.content) == (206, data[1000:])
    assert rest.headers["content-range"] == f"bytes 1000-{len(data) - 1}/{len(data)}"
    for headers in (
        {"Range": f"bytes={len(data)}-"},
        {"Range": "bytes=5-9"},
        {"Range": "lines=1-"},
        {"Range": "bytes=1000-", "If-Range": '"another"'},
    ):
        whole = await client.get(f"/blobs/{blob['digest']}", headers=headers)
        assert (whole.status_code, whole.content) == (200, data)
    missing = sha256_digest(b"missing")
    assert (await client.get(f"/blobs/{missing}")).status_code == 404
    assert (await client.get("/blobs/..%2f..%2fetc")).status_code in (404, 422)


async def test_a_piece_that_brings_nothing_more_leaves_the_upload_to_others(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_blobs, "IDLE_S", 0.01)
    data = bytes(5000)
    begun = await client.post("/blobs/uploads", json={"digest": sha256_digest(data), "size": 5000})
    path = f"/blobs/uploads/{begun.json()['id']}"

    async def stalling() -> AsyncIterator[bytes]:
        yield data[:2000]
        await asyncio.Event().wait()

    stalled = await client.patch(path, content=stalling(), headers={"Upload-Offset": "0"})
    assert (stalled.status_code, stalled.headers["upload-offset"]) == (409, "2000")
    assert stalled.headers["connection"] == "close"
    rest = await client.patch(path, content=data[2000:], headers={"Upload-Offset": "2000"})
    assert (rest.status_code, rest.headers["upload-offset"]) == (204, "5000")


async def test_a_client_that_goes_away_leaves_what_it_sent(small_bench: Bench) -> None:
    data = b"k" * 5000
    record = small_bench.registry.uploads.begin(sha256_digest(data), len(data), actor="ann")
    assert isinstance(record, UploadRecord)
    messages: Iterator[dict[str, object]] = iter(
        [
            {"type": "http.request", "body": data[:2000], "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> dict[str, object]:
        return next(messages)

    async def send(_: object) -> None:
        return None

    scope = {
        "type": "http",
        "method": "PATCH",
        "path": f"/api/v1/blobs/uploads/{record.id}",
        "raw_path": b"",
        "query_string": b"",
        "headers": [(b"upload-offset", b"0"), (b"content-length", b"5000")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("t", 80),
        "client": ("t", 1),
        "root_path": "",
    }
    await application(small_bench)(scope, receive, send)
    assert small_bench.registry.uploads.offset(record.id) == 2000
    small_bench.registry.uploads.open_piece(record.id, 2000).close()


async def test_an_upload_is_never_whole_in_memory(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(range(256)) * (8 * CHUNK_BYTES // 256)
    sizes: list[int] = []
    write = Piece.write

    def watched(self: Piece, piece: bytes) -> None:
        sizes.append(len(piece))
        write(self, piece)

    monkeypatch.setattr(Piece, "write", watched)
    blob = {"digest": sha256_digest(data), "size": len(data)}
    path = f"/blobs/uploads/{(await client.post('/blobs/uploads', json=blob)).json()['id']}"

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 65536):
            yield data[start : start + 65536]

    await client.patch(path, content=chunks(), headers={"Upload-Offset": "0"})
    assert (await client.post(f"{path}/complete")).status_code == 201
    assert sum(sizes) == len(data)
    assert max(sizes) <= CHUNK_BYTES + 65536
