"""The registry's routes: each is named by its outcome."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import msgspec
import pytest
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse

from protocol.errors import Code, TollwayError
from protocol.manifest import sha256_digest
from registry import routes_blobs
from registry.access import Actor, Role
from registry.blobstore import CHUNK_BYTES
from registry.routes import registry_router
from registry.settings import RegistrySettings
from registry.status import EngineStatus, ServingStatus
from registry.store.uploads import UploadRecord
from registry.uploads import Piece
from tests.registry import models_onnx
from tests.registry.conftest import Bench

MODEL = models_onnx.linear().SerializeToString()


def application(bench: Bench) -> FastAPI:
    """The router in an application of its own; the role comes in a header."""

    def require(*roles: Role) -> Callable[[Request], Actor]:
        def actor(request: Request) -> Actor:
            role = request.headers.get("x-role", "publisher")
            if role not in roles:
                raise TollwayError(Code.FORBIDDEN, "no")
            return Actor("ann", role)

        return actor

    async def refuse(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, TollwayError)
        return JSONResponse({"code": error.code, "detail": error.public}, error.status)

    app = FastAPI()
    app.add_exception_handler(TollwayError, refuse)
    app.state.registry = bench.registry
    app.include_router(registry_router(require), prefix="/api/v1")
    return app


@pytest.fixture
async def client(small_bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the routes, as a publisher."""
    transport = httpx.ASGITransport(application(small_bench))
    async with httpx.AsyncClient(transport=transport, base_url="http://t/api/v1") as found:
        yield found


async def upload(client: httpx.AsyncClient, data: bytes) -> dict[str, object]:
    blob = {"digest": sha256_digest(data), "size": len(data)}
    begun = await client.post("/blobs/uploads", json=blob)
    if begun.status_code == 201:
        path = f"/blobs/uploads/{begun.json()['id']}"
        await client.patch(path, content=data, headers={"Upload-Offset": "0"})
        assert (await client.post(f"{path}/complete")).status_code == 201
    return blob


async def register(client: httpx.AsyncClient, **more: object) -> httpx.Response:
    await client.put("/models/credit", json={})
    body = {"artifact": await upload(client, MODEL), **more}
    return await client.post("/models/credit/versions", json=body)


async def publish(client: httpx.AsyncClient, bench: Bench) -> int:
    number = int((await register(client)).json()["number"])
    bench.serving["credit", number] = ServingStatus(state="ready")
    for to in ("validated", "approved", "published"):
        done = await client.post(f"/models/credit/versions/{number}/transitions", json={"to": to})
        assert done.status_code == 200, done.text
    return number


async def test_putting_a_model_makes_it_once_and_changes_it_later(
    client: httpx.AsyncClient,
) -> None:
    made = await client.put("/models/credit", json={"title": "Credit"})
    assert made.status_code == 201
    assert made.headers["location"] == "/api/v1/models/credit"
    again = await client.put("/models/credit", json={"description": "Who pays back"})
    assert again.status_code == 200
    assert again.json() | {"created_at": "", "updated_at": ""} == {
        "name": "credit",
        "title": "Credit",
        "description": "Who pays back",
        "owner": "ann",
        "aliases": {},
        "latest": None,
        "created_at": "",
        "updated_at": "",
        "idle_unload_s": 0,
        "cold_start_wait_s": 0,
        "capture_percent": 0.0,
        "capture_days": 30,
    }
    found = await client.get("/models/credit")
    assert found.headers["etag"] == again.headers["etag"] != made.headers["etag"]
    assert found.json()["created_at"].endswith("Z")


async def test_a_model_may_leave_the_memory_while_nobody_calls_it(
    client: httpx.AsyncClient,
) -> None:
    made = await client.put("/models/credit", json={"title": "Credit", "idle_unload_s": 900})
    assert (made.json()["idle_unload_s"], made.json()["cold_start_wait_s"]) == (900, 0)
    again = await client.put("/models/credit", json={"cold_start_wait_s": 20})
    assert (again.json()["idle_unload_s"], again.json()["cold_start_wait_s"]) == (900, 20)
    assert again.json()["title"] == "Credit"
    for refused in ({"idle_unload_s": -1}, {"cold_start_wait_s": 601}, {"idle_unload_s": "1"}):
        assert (await client.put("/models/credit", json=refused)).status_code == 422


async def test_a_stale_update_of_a_model_is_refused(client: httpx.AsyncClient) -> None:
    made = await client.put("/models/credit", json={"title": "one"})
    stale = {"If-Match": made.headers["etag"]}
    assert (await client.put("/models/credit", json={"title": "two"}, headers=stale)).is_success
    refused = await client.put("/models/credit", json={"title": "three"}, headers=stale)
    assert refused.status_code == 412
    exists = await client.put("/models/credit", json={}, headers={"If-None-Match": "*"})
    assert exists.status_code == 412


async def test_lists_come_in_pages_that_join_without_gap_or_overlap(
    client: httpx.AsyncClient,
) -> None:
    names = [f"m{index}" for index in range(5)]
    for name in names:
        await client.put(f"/models/{name}")
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = (await client.get("/models", params={"limit": 2, "after": after})).json()
        seen += [item["name"] for item in page["items"]]
        after = page["next"]
    assert seen == names


async def test_a_registered_version_is_shown_with_its_manifest_and_engines(
    client: httpx.AsyncClient, small_bench: Bench
) -> None:
    made = await register(client, description="first", metrics={"auc": 0.9}, labels=[0, "b", True])
    assert made.status_code == 201, made.text
    assert made.headers["location"] == "/api/v1/models/credit/versions/1"
    engine = EngineStatus(worker="w1", slot=0, state="ready")
    small_bench.serving["credit", 1] = ServingStatus(state="ready", engines=(engine,))
    found = (await client.get("/models/credit/versions/1")).json()
    assert found["state"] == "registered"
    assert found["created_by"] == "ann"
    assert found["description"] == "first"
    assert found["manifest"]["inputs"][0]["shape"] == [-1, 3]
    assert found["manifest"]["metrics"] == {"auc": 0.9}
    assert found["manifest"]["labels"] == [0, "b", True]
    assert found["serving"] == {
        "state": "ready",
        "engines": [{"worker": "w1", "slot": 0, "state": "ready", "error": ""}],
        "error": "",
    }
    assert (await client.get("/models/credit")).json()["latest"] == 1
    listed = (await client.get("/models/credit/versions")).json()["items"]
    assert listed == [found]


async def test_the_same_idempotency_key_registers_once(client: httpx.AsyncClient) -> None:
    await client.put("/models/credit")
    body = {"artifact": await upload(client, MODEL)}
    headers = {"Idempotency-Key": "abc"}
    first = await client.post("/models/credit/versions", json=body, headers=headers)
    second = await client.post("/models/credit/versions", json=body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"artifact": {"digest": "sha256:0", "size": 1}},
        {"artifact": {"digest": sha256_digest(b""), "size": -1}},
        {"artifact": {"digest": sha256_digest(b""), "size": "1"}},
        {"task": "magic"},
        {"columns": [{"name": "a", "type": "float", "input": "input", "null_share": 2}]},
        {"files": [{"path": "", "digest": sha256_digest(b""), "size": 0}]},
        {"labels": [[1]]},
        {"libraries": {"x": 1}},
    ],
)
async def test_a_request_that_is_not_acceptable_is_refused_by_its_field(
    client: httpx.AsyncClient, change: dict[str, object]
) -> None:
    await client.put("/models/credit")
    body = {"artifact": {"digest": sha256_digest(MODEL), "size": len(MODEL)}} | change
    assert (await client.post("/models/credit/versions", json=body)).status_code == 422


@pytest.mark.parametrize("path", ["/abs", "../up", "a/../b", "a//b", "a\\b", "model.onnx", "c:x"])
async def test_a_file_outside_of_the_bundle_is_refused(
    client: httpx.AsyncClient, path: str
) -> None:
    file = await upload(client, b"weights") | {"path": path}
    refused = await register(client, files=[file])
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


async def test_what_is_not_onnx_is_refused(client: httpx.AsyncClient) -> None:
    refused = await register(client, artifact=await upload(client, b"hello"))
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_model")


@pytest.mark.parametrize("name", ["UPPER", "a_b", "a" * 64, "%00"])
async def test_a_name_outside_the_rule_is_refused_everywhere(
    client: httpx.AsyncClient, name: str
) -> None:
    for method, path in (
        ("PUT", f"/models/{name}"),
        ("GET", f"/models/{name}"),
        ("GET", f"/models/{name}/versions/1"),
        ("GET", f"/models/credit/aliases/{name}"),
    ):
        assert (await client.request(method, path)).status_code == 422


async def test_numbers_beyond_every_database_are_refused(client: httpx.AsyncClient) -> None:
    await client.put("/models/credit")
    assert (await client.get(f"/models/credit/versions/{2**70}")).status_code == 422
    assert (await client.get("/models/credit/versions/0")).status_code == 422


async def test_text_that_a_database_cannot_hold_is_refused(client: httpx.AsyncClient) -> None:
    for text in ('"a\\u0000b"', '"\\ud800"'):
        refused = await client.put("/models/credit", content=f'{{"title": {text}}}')
        assert refused.status_code == 422, text


async def test_transitions_are_taken_in_order_and_shown_with_who_and_why(
    client: httpx.AsyncClient, small_bench: Bench
) -> None:
    number = await publish(client, small_bench)
    path = f"/models/credit/versions/{number}/transitions"
    illegal = await client.post(path, json={"to": "registered"})
    assert (illegal.status_code, illegal.json()["code"]) == (409, "illegal_transition")
    assert (await client.post(path, json={"to": "nonsense"})).status_code == 422
    await client.post(path, json={"to": "deprecated", "reason": "a better one"})
    items = (await client.get(path)).json()["items"]
    assert [(item["from"], item["to"]) for item in items][-2:] == [
        ("approved", "published"),
        ("published", "deprecated"),
    ]
    assert (items[-1]["actor"], items[-1]["reason"]) == ("ann", "a better one")
    assert items[-1]["digest"].startswith("sha256:")


async def test_a_version_is_unloaded_and_loaded_under_a_condition(
    client: httpx.AsyncClient,
) -> None:
    made = await register(client)
    path = "/models/credit/versions/1"
    stale = {"If-Match": made.headers["etag"]}
    changed = await client.patch(path, json={"loaded": False}, headers=stale)
    assert (changed.status_code, changed.json()["loaded"]) == (200, False)
    assert (await client.patch(path, json={"loaded": True}, headers=stale)).status_code == 412
    assert (await client.patch(path, json={"loaded": 1})).status_code == 422


async def test_an_alias_moves_by_compare_and_swap(
    client: httpx.AsyncClient, small_bench: Bench
) -> None:
    first, second = [await publish(client, small_bench) for _ in range(2)]
    path = "/models/credit/aliases/champion"
    body = {"version": first}
    assert (await client.put(path, json=body)).status_code == 428
    made = await client.put(path, json=body, headers={"If-None-Match": "*"})
    assert made.status_code == 201
    assert (await client.put(path, json=body, headers={"If-None-Match": "*"})).status_code == 412
    tag = {"If-Match": made.headers["etag"]}
    moved = await client.put(path, json={"version": second}, headers=tag)
    assert (moved.status_code, moved.json()["version"]) == (200, second)
    assert (await client.put(path, json=body, headers=tag)).status_code == 412
    assert (await client.delete(path)).status_code == 428
    assert (await client.delete(path, headers=tag)).status_code == 412
    found = await client.get(path)
    gone = await client.delete(path, headers={"If-Match": found.headers["etag"]})
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await client.get(path)).status_code == 404
    history = (await client.get(f"{path}/history")).json()["items"]
    assert [(m["previous"], m["version"]) for m in history] == [(None, 1), (1, 2), (2, None)]


@pytest.mark.parametrize("tag", ["abc", 'W/"abc"', '"a", "b"', ""])
async def test_a_condition_that_is_not_understood_is_never_taken_for_none(
    client: httpx.AsyncClient, small_bench: Bench, tag: str
) -> None:
    number = await publish(client, small_bench)
    for method, path in (
        ("PUT", "/models/credit/aliases/x"),
        ("PUT", "/models/credit/rollout"),
    ):
        body = {"version": number} if path.endswith("x") else {"stable": number}
        refused = await client.request(method, path, json=body, headers={"If-Match": tag})
        assert refused.status_code == 400


async def test_the_rollout_is_the_stable_alias(
    client: httpx.AsyncClient, small_bench: Bench
) -> None:
    number = await publish(client, small_bench)
    nothing = {"stable": None, "canary": None, "shadow": [], "previous": None, "guarded": None}
    assert (await client.get("/models/credit/rollout")).json() == nothing
    moved = await client.put("/models/credit/rollout", json={"stable": number})
    assert (moved.status_code, moved.json()) == (200, nothing | {"stable": number})
    assert (await client.get("/models/credit/rollout")).headers["etag"] == moved.headers["etag"]
    assert (await client.get("/models/credit")).json()["aliases"] == {"stable": number}
    aliases = (await client.get("/models/credit/aliases")).json()["items"]
    assert [(item["alias"], item["version"]) for item in aliases] == [("stable", number)]
    await register(client)
    refused = await client.put("/models/credit/rollout", json={"stable": number + 1})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    nobody = await client.put("/models/credit/rollout", json={"stable": None})
    assert nobody.status_code == 422
    assert "delete the label 'stable'" in nobody.text


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


async def test_every_route_refuses_who_may_not_use_it(small_bench: Bench) -> None:
    """Consumers read what is published about models; bytes and changes are not theirs."""
    readable = {
        "/models",
        "/models/{model}",
        "/models/{model}/versions",
        "/models/{model}/versions/{number}",
        "/models/{model}/versions/{number}/transitions",
        "/models/{model}/versions/{number}/compatibility",
        "/models/{model}/versions/{number}/deprecation",
        "/models/{model}/aliases",
        "/models/{model}/aliases/{alias}",
        "/models/{model}/aliases/{alias}/history",
        "/models/{model}/rollout",
        "/models/{model}/rollout/history",
    }
    app = application(small_bench)
    values = {"model": "m", "number": "1", "alias": "a", "id": "0" * 32}
    values["digest"] = sha256_digest(b"")
    transport = httpx.ASGITransport(app)
    checked = 0
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        for path, operations in app.openapi()["paths"].items():
            for method in operations:
                url = path.format(**values)
                headers = {"x-role": "consumer", "Upload-Offset": "0"}
                answer = await client.request(method, url, json={}, headers=headers)
                free = method == "get" and path.removeprefix("/api/v1") in readable
                assert (answer.status_code == 403) != free, (method, path, answer.status_code)
                nobody = await client.request(method, url, json={}, headers={"x-role": "nobody"})
                assert nobody.status_code == 403, (method, path)
                checked += 1
    assert checked >= 20


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        RegistrySettings(staging_dir=None).gc_grace_s = 1  # type: ignore[misc, arg-type]


def test_the_version_body_reaches_the_domain_whole() -> None:
    from registry.inputs import VersionInput

    body = {
        "artifact": {"digest": sha256_digest(b"a"), "size": 1},
        "files": [{"path": "w.bin", "digest": sha256_digest(b"b"), "size": 2}],
        "golden": {"digest": sha256_digest(b"c"), "size": 3},
        "task": "classification",
        "labels": ["a", 1, 1.5, True],
        "columns": [
            {
                "name": "age", "type": "float", "input": "input", "index": 0, "minimum": 1,
                "maximum": 2.5, "categories": None, "null_share": 0.25, "null": None,
            }
        ],
        "libraries": {"numpy": "2"},
        "conversion": {"opset": "17"},
        "parity": {
            "rows": 10, "max_abs_error": 0.0, "tolerance": 1e-5, "label_mismatches": 0,
            "near_ties": 1,
        },
        "metrics": {"auc": 1},
        "description": "d",
    }  # fmt: skip
    request = VersionInput.model_validate_json(msgspec.json.encode(body)).request()
    built = msgspec.json.decode(msgspec.json.encode(request))
    for blob in (built["artifact"], built["golden"]):
        assert blob.pop("path") == ""
    assert built == body
    assert [type(label) for label in request.labels] == [str, int, float, bool]


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
