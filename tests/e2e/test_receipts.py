"""Receipts and replays on a whole stack, in every form that a request can have."""

import gzip
import json
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

import tollway
from tests.control.running import run
from tests.e2e.stack import RunningStack

X, Y = load_iris(return_X_y=True)
X = X.astype(np.float32)
WITHIN_S = 20.0


class Captured(NamedTuple):
    client: tollway.Client
    key: str
    url: str
    stack: RunningStack


@pytest.fixture(scope="module")
def captured(stack: RunningStack) -> Iterator[Captured]:
    """Two versions of ``iris``, the first stable, with everything captured."""
    with stack.client() as client:
        client.deploy(LogisticRegression(max_iter=500).fit(X, Y), "iris", X)
        client.deploy(LogisticRegression(C=0.01, max_iter=500).fit(X, Y), "iris", X, stage=True)
        client.capture("iris", 100)
        key = client.create_key(application="shop", model="iris", plan="unlimited").secret
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            try:
                client.captured(predict(stack.url, key, *JSON_FORMS["v2 json"]), wait_s=3.0)
                break
            except tollway.NotFoundError:
                continue
        yield Captured(client, key, stack.url, stack)


def v2_json(rows: int = 3) -> bytes:
    data = X[:rows].ravel().tolist()
    tensor = {"name": "input", "datatype": "FP32", "shape": [rows, 4], "data": data}
    return json.dumps({"id": "mine", "inputs": [tensor]}).encode()


def v2_binary() -> tuple[bytes, int]:
    raw = X[:2].tobytes()
    tensor = {
        "name": "input",
        "datatype": "FP32",
        "shape": [2, 4],
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head + raw, len(head)


V2 = "/v2/models/iris/infer"
V1 = "/v1/models/iris:predict"
BINARY, HEAD = v2_binary()
LENGTH = {"Inference-Header-Content-Length": str(HEAD), "Content-Type": "application/octet-stream"}
V1_BODY = json.dumps({"instances": X[:3].tolist()}).encode()
Form = tuple[str, bytes, dict[str, str]]
JSON_FORMS: dict[str, Form] = {
    "v2 json": (V2, v2_json(), {}),
    "v2 gzip": (V2, gzip.compress(v2_json()), {"Content-Encoding": "gzip"}),
    "v1": (V1, V1_BODY, {}),
    "v1 deflate": (V1, zlib.compress(V1_BODY), {"Content-Encoding": "deflate"}),
    "v1 columns": (V1, json.dumps({"inputs": X[:2].tolist()}).encode(), {}),
    "v2 coded answer": (V2, v2_json(100), {"Accept-Encoding": "gzip"}),
}
FORMS: dict[str, Form] = {
    **JSON_FORMS,
    "binary": (V2, BINARY, LENGTH),
    "binary gzip": (V2, gzip.compress(BINARY), {**LENGTH, "Content-Encoding": "gzip"}),
}


def predict(url: str, key: str, path: str, body: bytes, headers: dict[str, str]) -> str:
    """The id of a prediction."""
    sent = {"X-API-Key": key, "Accept-Encoding": "identity", **headers}
    answer = httpx.post(url + path, content=body, headers=sent)
    assert answer.status_code == 200, answer.text
    return answer.headers["Tollway-Prediction-Id"]


@pytest.mark.parametrize("form", FORMS)
def test_a_replay_has_the_same_bits(captured: Captured, form: str) -> None:
    id = predict(captured.url, captured.key, *FORMS[form])
    found = captured.client.replay(id)
    assert found.equal, found
    assert found.same_text
    assert found.same_artifact
    assert found.same_runtime
    assert sum(one.values for one in found.outputs) > 0


@pytest.mark.parametrize("form", ["v2 json", "v1", "binary"])
def test_a_replay_on_another_version_shows_the_difference(captured: Captured, form: str) -> None:
    id = predict(captured.url, captured.key, *FORMS[form])
    found = captured.client.replay(id, version=2)
    assert not found.equal
    assert not found.same_artifact
    (differing,) = [one for one in found.outputs if one.output == "probabilities"]
    assert differing.differing > 0
    assert differing.max_abs > 0.01
    assert differing.first[0].index == (0, 0)


def test_a_receipt_names_what_is_registered(captured: Captured) -> None:
    id = predict(captured.url, captured.key, *FORMS["v2 json"])
    version = captured.client.version("iris", 1)
    found = captured.client.receipt(id)
    assert (found.model, found.version, found.answered_by) == ("iris", 1, "engine")
    assert found.manifest_digest == version.digest
    assert version.manifest.artifact is not None
    assert found.artifact_digest == version.manifest.artifact.digest
    assert found.runtime is not None
    assert found.runtime.name == "onnxruntime"
    assert found.configuration_revision
    assert found.gateway


def test_commands_tell_and_exit_by_what_was_found(
    captured: Captured, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOLLWAY_URL", captured.url)
    monkeypatch.setenv("TOLLWAY_TOKEN", captured.stack.token)
    id = predict(captured.url, captured.key, *FORMS["v1"])
    assert run(monkeypatch, "replay", id) == 0
    assert "same bits" in capsys.readouterr().out
    assert run(monkeypatch, "replay", id, "--version", "2", "--json") == 1
    assert json.loads(capsys.readouterr().out)["replayed_version"] == 2
    assert run(monkeypatch, "receipt", id, "--json") == 0
    assert json.loads(capsys.readouterr().out)["version"] == 1
    assert run(monkeypatch, "captures", "iris", "--application", "shop", "--json") == 0
    assert id in [one["id"] for one in json.loads(capsys.readouterr().out)]
    assert run(monkeypatch, "replay", id, "--version", "9") == 1
    captured.client.unload("iris", 2)
    assert run(monkeypatch, "replay", id, "--version", "2") == 1
    assert "tollway load iris 2" in capsys.readouterr().err
    captured.client.load("iris", 2)


def test_shared_runs_are_equal_or_said_to_differ_in_their_last_bits(captured: Captured) -> None:
    model = MLPClassifier((256, 128), tol=10.0, n_iter_no_change=2, random_state=0).fit(X, Y)
    captured.client.deploy(model, "deep", X)
    captured.client.capture("deep", 100)
    key = captured.client.create_key(application="shop", model="deep", plan="unlimited").secret
    time.sleep(1.0)
    path = "/v2/models/deep/infer"
    with ThreadPoolExecutor(16) as threads:
        ids = list(
            threads.map(lambda _: predict(captured.url, key, path, v2_json(1), {}), range(64))
        )
    found = [captured.client.replay(id) for id in ids[-12:]]
    assert all(one.equal or (one.shared_run and one.only_rounding) for one in found)


def test_ids_of_a_killed_gateway_resolve(private_stack: RunningStack) -> None:
    with private_stack.client() as client:
        client.deploy(LogisticRegression(max_iter=500).fit(X, Y), "iris", X)
        headers = {"Authorization": f"Bearer {private_stack.token}"}
        answer = httpx.post(private_stack.url + V2, content=v2_json(), headers=headers)
        private_stack.kill("gateway")
        found = client.receipt(answer.headers["Tollway-Prediction-Id"], wait_s=WITHIN_S)
        assert (found.model, found.version) == ("iris", 1)
