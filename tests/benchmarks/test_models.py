"""The benchmarked models answer as scikit-learn does, and requests are what they should be."""

import json

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]
import pytest

from benchmarks.answers import difference_from, latency_of
from benchmarks.models import (
    Trained,
    binary_sum,
    classifier_onnx,
    json_sum,
    reducer,
    row_of,
    train_classifier,
    wide_row,
)
from benchmarks.spec import Answer, Exchange
from benchmarks.workloads import WORKLOADS, Form, Workload, exchanges

ONE_ROW = Workload(rows=1, binary=False)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train_classifier()


def test_every_request_has_one_row_and_the_answer_of_scikit_learn(trained: Trained) -> None:
    session = ort.InferenceSession(classifier_onnx(trained))
    requests = exchanges(trained, ONE_ROW)
    assert len({exchange.body for exchange in requests}) == 64
    for exchange in requests:
        (tensor,) = json.loads(exchange.body)["inputs"]
        assert tensor["shape"] == [1, 30]
        row = np.array(tensor["data"], dtype=np.float32).reshape(1, 30)
        label, probabilities = session.run(None, {"input": row})
        outputs = [
            {"name": "label", "data": label.tolist()},
            {"name": "probabilities", "data": probabilities.tolist()},
        ]
        answer = json.dumps({"outputs": outputs}).encode()
        assert difference_from(exchange, answer, None, 1e-4) == ""


def test_bodies_are_about_as_long_as_in_the_figures_of_others(trained: Trained) -> None:
    sizes = [len(exchange.body) for exchange in exchanges(trained, ONE_ROW)]
    assert 250 < np.mean(sizes) < 350


def test_the_reducer_sums_rows_of_any_length() -> None:
    session = ort.InferenceSession(reducer().SerializeToString())
    for row in (row_of(500), wide_row(100_000)):
        (total,) = session.run(None, {"input": row.reshape(1, -1)})
        expected = json_sum(row).expected["sum"][0]
        assert total.shape == (1, 1)
        assert abs(total[0, 0] - expected) <= 1e-4 * expected


def test_a_binary_request_says_where_its_json_ends() -> None:
    row = wide_row(4000)
    exchange = binary_sum(row)
    length = int(exchange.headers["Inference-Header-Content-Length"])
    (tensor,) = json.loads(exchange.body[:length])["inputs"]
    assert tensor["parameters"]["binary_data_size"] == len(exchange.body) - length
    assert np.array_equal(np.frombuffer(exchange.body[length:], "<f4"), row)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"{", "not the answer"),
        (b'{"outputs": 3}', "not the answer"),
        (b'{"outputs": []}', "has 0 values instead of 2"),
        (b'{"outputs": [{"name": "p", "data": [[0.5]]}]}', "has 1 values instead of 2"),
        (b'{"outputs": [{"name": "p", "data": [0.5, null]}]}', "has 1 values instead of 2"),
        (b'{"outputs": [{"name": "p", "data": [0.5, 0.6]}]}', "'p'[1] is 0.6"),
    ],
)
def test_a_wrong_answer_is_described(body: bytes, complaint: str) -> None:
    exchange = Exchange(body=b"", expected={"p": [0.5, 0.5]})
    assert complaint in difference_from(exchange, body, None, 1e-4)


def test_every_form_of_an_answer_is_read() -> None:
    for answer, body in (
        (Answer.PREDICTIONS, b'{"predictions": {"probabilities": [[0.25, 0.75]]}}'),
        (Answer.PROBABILITIES, b"[[0.25, 0.75]]"),
    ):
        exchange = Exchange(body=b"", expected={"probabilities": [0.25, 0.75]}, answer=answer)
        assert difference_from(exchange, body, None, 1e-4) == ""
        assert "is 0.75" in difference_from(exchange, body.replace(b"0.25", b"0.75"), None, 1e-4)


def test_a_thousand_rows_are_asked_in_every_form(trained: Trained) -> None:
    large = [workload for workload in WORKLOADS if workload.rows > 1]
    for workload in large:
        for exchange in exchanges(trained, workload):
            assert len(exchange.expected["label"]) == 1000
            assert len(exchange.expected["probabilities"]) == 2000
    rows = json.loads(exchanges(trained, large[0], Form.BENTOML)[0].body)["rows"]
    assert np.shape(rows) == (1000, 30)


def test_percentiles_are_nearest_ranks() -> None:
    latency = latency_of([milliseconds * 1_000_000 for milliseconds in range(1, 1001)])
    assert (latency.p50_ms, latency.p99_ms, latency.p999_ms) == (500.0, 990.0, 999.0)
    assert sum(latency.buckets.values()) == 1000


def test_no_answers_have_no_latency() -> None:
    assert latency_of([]).max_ms == 0.0
