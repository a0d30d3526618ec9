"""The registry's routes: each is named by its outcome."""

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from protocol.manifest import sha256_digest
from registry.settings import RegistrySettings
from registry.status import EngineStatus, ServingStatus
from tests.registry.conftest import Bench
from tests.registry.routed import MODEL, application, publish, register, upload


@pytest.fixture
async def client(small_bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the routes, as a publisher."""
    transport = httpx.ASGITransport(application(small_bench))
    async with httpx.AsyncClient(transport=transport, base_url="http://t/api/v1") as found:
        yield found


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
