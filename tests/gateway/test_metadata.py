"""Health, metadata, index and statistics, as the protocols' clients read them."""

import httpx
import msgspec
import pytest

from gateway.app import Gateway
from tests.gateway.conftest import until
from tests.gateway.documents import World, version
from tests.gateway.fake_engine import FakeEngine


@pytest.fixture
def anonymous(gateway: Gateway) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(gateway.application)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


async def test_server_metadata_has_the_required_fields(anonymous: httpx.AsyncClient) -> None:
    for path in ("/v2", "/v2/"):
        found = (await anonymous.get(path)).json()
        assert found["name"] == "tollway"
        assert "binary_tensor_data" in found["extensions"]
        assert found["version"]


async def test_model_metadata_is_open_and_lists_published_versions(
    anonymous: httpx.AsyncClient,
) -> None:
    found = (await anonymous.get("/v2/models/iris")).json()
    assert found["name"] == "iris"
    assert found["versions"] == ["1", "2"]
    assert found["platform"] == "onnxruntime_onnx"
    assert found["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]
    assert found["outputs"] == [{"name": "label", "datatype": "BYTES", "shape": [-1]}]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/health/live", 200),
        ("/v2/health/ready", 200),
        ("/v2/models/iris/ready", 200),
        ("/v2/models/iris/versions/2/ready", 200),
        ("/v2/models/iris/versions/1/ready", 503),
        ("/v2/models/iris/versions/3/ready", 404),
        ("/v2/models/iris/config", 200),
        ("/v2/models/iris/versions/2/config", 200),
        ("/v2/models/none/ready", 404),
        ("/v2/models/iris/versions/4/ready", 410),
        ("/v2/models/iris/versions/4", 410),
        ("/v1/models/iris/versions/4", 410),
        ("/v2/models/secret", 404),
        ("/v1/models/iris", 200),
        ("/v1/models/iris/versions/1", 503),
        ("/v1/models/iris/labels/stable", 200),
        ("/v1/models/iris/metadata", 200),
        ("/v1/models/iris/labels/none/metadata", 404),
        ("/v2/models/iris/stats", 401),
        ("/v2/nothing", 404),
        ("/v1/nothing", 404),
    ],
)
async def test_open_paths_answer_without_a_key(
    anonymous: httpx.AsyncClient, path: str, status: int
) -> None:
    answer = await anonymous.get(path)
    assert answer.status_code == status, answer.text
    if status >= 400 and "v1/models/iris/versions/1" not in path:
        assert set(answer.json()) == {"error"}


async def test_wrong_method_is_405(anonymous: httpx.AsyncClient) -> None:
    assert (await anonymous.post("/v2/health/live")).status_code == 405


async def test_index_shows_published_versions_and_their_state(
    anonymous: httpx.AsyncClient,
) -> None:
    every = (await anonymous.post("/v2/repository/index")).json()
    assert [(item["version"], item["state"]) for item in every] == [
        ("1", "UNAVAILABLE"),
        ("2", "READY"),
    ]
    ready = (await anonymous.post("/v2/repository/index", json={"ready": True})).json()
    assert [item["version"] for item in ready] == ["2"]
    for nonsense in (b"{", b"[" * 2000, b'{"ready": "yes"}', b"\xff", b"[]"):
        answer = await anonymous.post("/v2/repository/index", content=nonsense)
        assert answer.status_code == 400, nonsense


async def test_statistics_are_summed_over_engines(client: httpx.AsyncClient) -> None:
    (stats,) = (await client.get("/v2/models/iris/stats")).json()["model_stats"]
    assert (stats["name"], stats["version"]) == ("iris", "2")
    assert stats["inference_count"] == 3
    assert stats["inference_stats"]["compute_infer"] == {"count": 3, "ns": 90}
    assert stats["batch_stats"] == [
        {
            "batch_size": 1,
            "compute_input": {"count": 3, "ns": 30},
            "compute_infer": {"count": 3, "ns": 90},
            "compute_output": {"count": 3, "ns": 60},
        }
    ]


async def test_statistics_need_the_right_to_the_model(
    client: httpx.AsyncClient, world: World
) -> None:
    answer = await client.get("/v2/models/iris/stats", headers={"x-api-key": world.stranger_key})
    assert answer.status_code == 403
    answer = await client.get("/v2/models/iris/stats", headers={"x-api-key": "tw_live_no"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="tollway"'
    assert answer.headers["content-type"] == "application/json"


async def test_a_defect_is_told_as_one_and_in_the_protocols_form(
    gateway: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_key: object) -> list[object]:
        raise OverflowError("a secret of the inside")

    monkeypatch.setattr(gateway.upstream, "connections", broken)
    transport = httpx.ASGITransport(gateway.application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        key = {"x-api-key": world.key}
        answer = await client.get("/v2/models/iris/stats", headers=key)
    assert answer.status_code == 500
    assert answer.json() == {"error": "an internal error of the gateway"}


async def test_server_is_not_ready_while_a_stable_version_has_no_engine(
    anonymous: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    await engine.kill()
    await until(lambda: not gateway.upstream.is_ready(("iris", 2)))
    answer = await anonymous.get("/v2/health/ready")
    assert answer.status_code == 503
    assert "iris" in answer.json()["error"]


async def test_unloaded_stable_version_is_not_waited_for(
    anonymous: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    await engine.kill()
    document = version("iris", 2)
    unloaded = msgspec.structs.replace(document, loaded=False)
    gateway.catalog.apply([("version", "iris/2", unloaded)], False)
    assert (await anonymous.get("/v2/health/ready")).status_code == 200


async def test_metrics_count_by_model_version_and_status(client: httpx.AsyncClient) -> None:
    await client.post("/v2/models/iris/infer", content=b"{}")
    await client.post("/v2/models/made-up-name/infer", content=b"{}")
    await client.post("/v2/models/iris/infer", content=b"{}", headers={"x-api-key": "bad"})
    text = (await client.get("/metrics")).text
    assert 'tollway_requests_total{model="iris",status="200",version="2"} 1.0' in text
    assert 'tollway_requests_total{model="",status="404",version="0"} 1.0' in text
    assert 'tollway_unidentified_requests_total{status="401"} 1.0' in text
    assert "made-up-name" not in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"x-forwarded-for": "10.0.0.1"}, 401),
        ({"x-forwarded-for": "1.1.1.1", "authorization": "Bearer nonsense"}, 401),
        ({"x-forwarded-for": "1.1.1.1", "authorization": "Bearer cluster-token-of-the-tests"}, 200),
    ],
)
async def test_metrics_are_for_this_machine_and_for_tokens(
    anonymous: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    assert (await anonymous.get("/metrics", headers=headers)).status_code == status


async def test_admin_token_reads_metrics_through_a_proxy(
    anonymous: httpx.AsyncClient, world: World
) -> None:
    headers = {"x-forwarded-for": "1.1.1.1", "authorization": f"Bearer {world.admin}"}
    assert (await anonymous.get("/metrics", headers=headers)).status_code == 200
    headers["authorization"] = f"Bearer {world.key}"
    assert (await anonymous.get("/metrics", headers=headers)).status_code == 401
