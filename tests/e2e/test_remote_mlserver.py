"""A version on a real MLServer answers as the same graph on this server's engines does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton

import tollway
from tests.e2e.stack import RunningStack, eventually
from tests.fixtures.mlserver import RunningMlServer
from tests.serving import models

GRAPH = models.linear(4)
ROWS = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], np.float32)
LOCAL, REMOTE = 1, 2
MODEL = "/v2/models/flowers"


def described(values: Any) -> list[dict[str, Any]]:
    return [{"name": value.name, "datatype": "FP32", "shape": shape_of(value)} for value in values]


def shape_of(value: Any) -> list[int]:
    return [d.dim_value or -1 for d in value.type.tensor_type.shape.dim]


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMlServer]:
    folder = tmp_path_factory.mktemp("mlserver") / "models"
    inputs, outputs = described(GRAPH.graph.input), described(GRAPH.graph.output)
    with RunningMlServer(folder, "iris", GRAPH.SerializeToString(), inputs, outputs) as running:
        yield running


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, mlserver: RunningMlServer
) -> Iterator[RunningStack]:
    settings = {
        "TOLLWAY_REMOTE_ALLOWED_NETWORKS": "127.0.0.0/8",
        "TOLLWAY_REMOTE_CHECK_INTERVAL_S": "0.5",
    }
    with RunningStack(tmp_path_factory.mktemp("stack"), settings=settings) as running:
        with running.client() as client:
            local = client.deploy(GRAPH, name="flowers")
            remote = client.register_remote("flowers", mlserver.url, model="iris")
            assert (local.number, remote.number) == (LOCAL, REMOTE)
            assert remote.state == "published"
            assert remote.serving.state == "ready"
            assert remote.manifest.inputs == tuple(
                tollway.resources.Tensor(name=t.name, datatype=t.datatype, shape=t.shape)
                for t in local.manifest.inputs
            )
        yield running


@pytest.fixture(scope="module")
def key(stack: RunningStack) -> str:
    with stack.client() as client:
        client.set_plan("small", {"max_rows": 2})
        return client.create_key(application="shop", model="flowers", plan="small").secret


@pytest.fixture(scope="module")
def api(stack: RunningStack, key: str) -> Iterator[httpx.Client]:
    with stack.api(key) as built:
        yield built


def body(rows: int = 2) -> dict[str, Any]:
    given = {
        "name": GRAPH.graph.input[0].name,
        "datatype": "FP32",
        "shape": [rows, 4],
        "data": np.resize(ROWS, (rows, 4)).ravel().tolist(),
    }
    return {"id": "42", "inputs": [given]}


def infer(api: httpx.Client, version: int, rows: int = 2) -> httpx.Response:
    return api.post(f"{MODEL}/infer", json=body(rows), headers={"Tollway-Version": str(version)})


def test_json_is_answered_as_by_our_own_engine(api: httpx.Client) -> None:
    local, remote = infer(api, LOCAL), infer(api, REMOTE)

    assert remote.status_code == 200, remote.text
    assert remote.json()["id"] == "42"
    assert (remote.json()["model_name"], remote.json()["model_version"]) == ("flowers", "2")
    assert remote.headers["tollway-version"] == "2"
    assert "infer;dur=" in remote.headers["server-timing"]
    ours, theirs = local.json()["outputs"], remote.json()["outputs"]
    assert [t["shape"] for t in theirs] == [t["shape"] for t in ours]
    np.testing.assert_allclose(np.ravel(theirs[0]["data"]), np.ravel(ours[0]["data"]), rtol=1e-5)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_tritons_client_gets_binary_tensors_both_ways(
    stack: RunningStack, key: str, compression: str | None
) -> None:
    client = triton.InferenceServerClient(stack.url.removeprefix("http://"))
    given = triton.InferInput(GRAPH.graph.input[0].name, [2, 4], "FP32")
    given.set_data_from_numpy(ROWS, binary_data=True)
    name = GRAPH.graph.output[0].name
    wanted = [triton.InferRequestedOutput(name, binary_data=True)]
    answers = [
        client.infer(
            "flowers",
            [given],
            str(version),
            wanted,
            headers={"X-API-Key": key},
            request_compression_algorithm=compression,
            response_compression_algorithm=compression,
        ).as_numpy(name)
        for version in (LOCAL, REMOTE)
    ]
    client.close()
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-5)


def test_the_python_client_predicts_by_either(stack: RunningStack) -> None:
    with stack.client() as client:
        local = client.predict("flowers", ROWS, version=LOCAL)
        remote = client.predict("flowers", ROWS, version=REMOTE)
    np.testing.assert_allclose(remote, local, rtol=1e-5)


def test_the_plans_rows_hold_and_usage_is_counted(stack: RunningStack, key: str) -> None:
    with stack.client() as client:  # an application of its own: what others asked comes late
        counted = client.create_key(application="counted", model="flowers", plan="small").secret

    def rows() -> list[tuple[int, int, int]]:
        with stack.client() as client:
            found = client.usage(by=("application", "status"), model="flowers")
        mine = [row for row in found if row.application == "counted"]
        return sorted((row.status or 0, row.requests, row.rows) for row in mine)

    with stack.api(counted) as api:
        eventually(lambda: infer(api, REMOTE, rows=1).status_code == 200)
        refused = infer(api, REMOTE, rows=3)
    assert (refused.status_code, "max_rows" in refused.text) == (413, True)
    eventually(lambda: rows() == [(200, 1, 1), (413, 1, 0)])


def test_metadata_and_statistics_are_there(api: httpx.Client) -> None:
    found = api.get(f"{MODEL}/versions/2").json()
    assert found["platform"] == "open_inference_remote"
    assert found["inputs"] == api.get(f"{MODEL}/versions/1").json()["inputs"]
    stats = api.get(f"{MODEL}/versions/2/stats").json()["model_stats"][0]
    assert stats["inference_stats"]["success"]["count"] >= 1


def test_what_mlserver_fails_at_is_a_502_without_its_words(api: httpx.Client) -> None:
    wrong = body()
    # Ragged, of as many elements as the shape has: MLServer answers 500.
    wrong["inputs"][0]["data"] = [[1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]
    answer = api.post(f"{MODEL}/versions/2/infer", json=wrong)
    assert answer.status_code == 502
    assert "Internal Server Error" not in answer.text


def test_a_model_that_mlserver_does_not_have_is_refused_at_the_registration(
    stack: RunningStack, mlserver: RunningMlServer
) -> None:
    with (
        stack.client() as client,
        pytest.raises(tollway.InvalidRequestError, match="answered 404"),
    ):
        client.register_remote("flowers", mlserver.url, model="roses")


def test_a_killed_mlserver_is_noticed_and_taken_up_again(
    api: httpx.Client, mlserver: RunningMlServer
) -> None:
    mlserver.stop()
    eventually(lambda: api.get(f"{MODEL}/versions/2/ready").status_code == 503)
    answer = infer(api, REMOTE)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert infer(api, LOCAL).status_code == 200
    assert api.get("/v2/health/ready").status_code == 200

    mlserver.start()
    eventually(lambda: infer(api, REMOTE).status_code == 200)


def test_traffic_goes_back_to_the_engines_by_a_rollback(
    stack: RunningStack, api: httpx.Client
) -> None:
    assert api.post(f"{MODEL}/infer", json=body()).headers["tollway-version"] == "2"
    with stack.client() as client:
        assert client.rollback("flowers").number == LOCAL
    assert api.post(f"{MODEL}/infer", json=body()).headers["tollway-version"] == "1"


def test_a_remote_version_that_describes_nothing_is_registered_with_stated_tensors(
    stack: RunningStack, tmp_path: Path
) -> None:
    with (
        RunningMlServer(tmp_path / "models", "bare", GRAPH.SerializeToString()) as bare,
        stack.client() as client,
    ):
        with pytest.raises(tollway.InvalidRequestError, match=r"remote\.inputs"):
            client.register_remote("bare", bare.url)
        inputs, outputs = described(GRAPH.graph.input), described(GRAPH.graph.output)
        client.register_remote("bare", bare.url, inputs=inputs, outputs=outputs)
        np.testing.assert_allclose(
            client.predict("bare", ROWS), client.predict("flowers", ROWS, version=LOCAL), rtol=1e-5
        )
