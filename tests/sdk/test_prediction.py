"""``predict`` and ``predict_proba``: the estimator's own answers, through re-deploys too."""

from typing import Any

import httpx
import numpy as np
import pytest

import tollway
from tests.sdk.fake_server import FakeServer
from tollway import conversion, prediction

Array = np.ndarray


def _matrix(width: int, **more: object) -> dict[str, Any]:
    return {
        "task": "classification",
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, width]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
        ],
        "labels": ["no", "yes"],
        **more,
    }


@pytest.fixture(autouse=True)
def plain_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding and decoding have tests of their own; here the rows are one matrix."""

    def encode(inputs: list[Any], _columns: object, X: object) -> dict[str, Array]:
        array = np.asarray(X, dtype=np.float32)
        if array.shape[1] != inputs[0]["shape"][1]:
            raise ValueError(f"{inputs[0]['shape'][1]} columns are expected")
        return {inputs[0]["name"]: array}

    def probabilities(outputs: dict[str, Array], _task: str, _labels: object) -> Array:
        if "probabilities" not in outputs:
            raise ValueError("this model gives no probabilities")
        return outputs["probabilities"]

    monkeypatch.setattr(conversion, "encode_inputs", encode)
    monkeypatch.setattr(conversion, "decode_predictions", lambda outputs, *_: outputs["label"])
    monkeypatch.setattr(conversion, "decode_probabilities", probabilities)


def test_labels_that_were_floats_are_read_back_as_floats(
    client: tollway.Client, server: FakeServer
) -> None:
    server.models["m"] = {"name": "m", "aliases": {"stable": 1}}
    server.add_version("m", _matrix(2, labels=[0, 1], conversion={"labels": "float"}))
    labels = client._signatures.get("m").labels
    assert [type(label) for label in labels] == [float, float]


@pytest.fixture
def served(server: FakeServer) -> FakeServer:
    """A model whose label tells which version answered, and which outputs it was asked for."""

    def infer(document: dict[str, Any], arrays: dict[str, Array], number: int) -> dict[str, Array]:
        rows = len(next(iter(arrays.values())))
        every = {
            "label": np.array([f"v{number}"] * rows, dtype=object),
            "probabilities": np.full((rows, 2), 0.5, dtype=np.float32),
        }
        wanted = [output["name"] for output in document.get("outputs", [])]
        return {name: every[name] for name in wanted or every}

    server.infer = infer
    server.add_version("m", _matrix(2))
    server.move("m", "stable", 1)
    return server


def test_labels_and_probabilities_come_back_as_arrays(
    client: tollway.Client, served: FakeServer
) -> None:
    assert client.predict("m", [[1, 2], [3, 4]]).tolist() == ["v1", "v1"]
    assert client.predict_proba("m", [[1, 2]]).tolist() == [[0.5, 0.5]]


def test_metadata_is_read_once_for_many_predictions(
    client: tollway.Client, served: FakeServer
) -> None:
    for _ in range(5):
        client.predict("m", [[1, 2]])
    assert len(served.asked("GET", ".*")) == 2


def test_a_redeployed_model_with_the_same_columns_answers_at_once(
    client: tollway.Client, served: FakeServer
) -> None:
    client.predict("m", [[1, 2]])
    served.add_version("m", _matrix(2))
    served.move("m", "stable", 2)
    assert client.predict("m", [[1, 2]]).tolist() == ["v2"]
    assert len(served.asked("POST", ".*/infer")) == 2


def test_a_redeployed_model_with_other_columns_is_noticed(
    client: tollway.Client, served: FakeServer
) -> None:
    client.predict("m", [[1, 2]])
    renamed = _matrix(2, inputs=[{"name": "rows", "datatype": "FP32", "shape": [-1, 2]}])
    served.add_version("m", renamed)
    served.move("m", "stable", 2)
    assert client.predict("m", [[1, 2]]).tolist() == ["v2"]


def test_rows_that_fit_only_the_redeployed_model_are_accepted(
    client: tollway.Client, served: FakeServer
) -> None:
    client.predict("m", [[1, 2]])
    served.add_version("m", _matrix(3))
    served.move("m", "stable", 2)
    assert client.predict("m", [[1, 2, 3]]).tolist() == ["v2"]


def test_rows_are_encoded_again_when_another_version_has_answered_them(
    client: tollway.Client, served: FakeServer
) -> None:
    client.predict("m", [[1, 2]])
    served.add_version("m", _matrix(2, columns=[{"name": "a", "type": "float", "input": "input"}]))
    served.move("m", "stable", 2)
    before = len(served.asked("POST", ".*/infer"))
    assert client.predict("m", [[1, 2]]).tolist() == ["v2"]
    assert len(served.asked("POST", ".*/infer")) == before + 2


def test_a_named_version_answers_whatever_is_stable(
    client: tollway.Client, served: FakeServer
) -> None:
    served.add_version("m", _matrix(2))
    served.move("m", "stable", 2)
    assert client.predict("m", [[1, 2]], version=1).tolist() == ["v1"]


def test_many_rows_go_in_several_requests_to_one_version(
    client: tollway.Client, served: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "REQUEST_BYTES", 8 * 10)
    answers = client.predict("m", np.zeros((35, 2)))
    assert answers.shape == (35,)
    calls = served.asked("POST", ".*/infer")
    assert len(calls) == 4
    assert [call.headers.get("Tollway-Version") for call in calls] == [None, "1", "1", "1"]


def test_rows_that_do_not_fit_are_refused_with_model_and_version(
    client: tollway.Client, served: FakeServer
) -> None:
    with pytest.raises(tollway.InvalidRequestError, match=r"model 'm' version 1: 2 columns are"):
        client.predict("m", [[1, 2, 3]])


def test_a_refusal_of_the_server_is_passed_on_once(
    client: tollway.Client, served: FakeServer
) -> None:
    for _ in range(2):
        served.fail("POST", ".*/infer", lambda _: httpx.Response(400, json={"error": "no, since"}))
    with pytest.raises(tollway.InvalidRequestError, match="no, since"):
        client.predict("m", [[1, 2]])
    assert len(served.asked("POST", ".*/infer")) == 1


def test_a_model_without_probabilities_says_so(client: tollway.Client, served: FakeServer) -> None:
    served.infer = lambda _d, _a, _n: {"label": np.array(["x"], dtype=object)}
    with pytest.raises(tollway.InvalidRequestError, match="model 'm': this model gives no prob"):
        client.predict_proba("m", [[1, 2]])


def test_a_model_without_traffic_says_so(client: tollway.Client, server: FakeServer) -> None:
    server.add_version("m", _matrix(2), state="validated")
    with pytest.raises(tollway.NotFoundError, match="has no stable version"):
        client.predict("m", [[1, 2]])


def test_an_applications_key_is_enough_to_predict(served: FakeServer) -> None:
    metadata = {
        "model_spec": {"version": "1"},
        "metadata": {"columns": [{"name": "a", "type": "float"}], "labels": ["no", "yes"]},
    }
    v2 = {**_matrix(2), "name": "m", "properties": {"task": "classification"}}

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models/m/metadata":
            return httpx.Response(200, json=metadata)
        if request.url.path == "/v2/models/m/versions/1":
            return httpx.Response(200, json=v2)
        return served.handle(request)

    with tollway.Client(
        "http://server", "tw_live_key", transport=httpx.MockTransport(handle)
    ) as client:
        assert client.predict("m", [[1, 2]]).tolist() == ["v1"]
        assert client.columns("m") == [
            {"name": "a", "type": "float", "input": "input", "index": 0, "null": None}
        ]
