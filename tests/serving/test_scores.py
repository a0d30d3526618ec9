"""Graphs whose probabilities are made scores again, in the bytes that they are stored in."""

import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from serving.scores import UnknownGraphError, with_scores
from tests.serving import models
from tollway.conversion import convert

X, KINDS = load_iris(return_X_y=True)


def scores_of(model: bytes, output: str = "probabilities") -> Any:
    session = ort.InferenceSession(with_scores(model, output), providers=["CPUExecutionProvider"])
    return session.run([output], {"input": X.astype(np.float32)})[0]


@pytest.mark.parametrize("labels", [KINDS > 0, KINDS], ids=["two classes", "three classes"])
def test_a_classifier_gives_its_scores(labels: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = LogisticRegression(C=1e4, max_iter=2000).fit(X, labels)
    found = scores_of(convert(model, X).onnx_bytes)
    expected = model.decision_function(X)
    expected = np.stack([-expected, expected], axis=1) if expected.ndim == 1 else expected
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert np.abs(found).max() > 17, "further than FP32 probabilities could tell"


def test_a_softmax_is_taken_off() -> None:
    graph = models.model(
        [onnx.helper.make_node("Softmax", ["input"], ["probabilities"], axis=-1)],
        [models.tensor("input", "FP32", (None, 4))],
        [models.tensor("probabilities", "FP32", (None, 4))],
    )
    assert np.array_equal(scores_of(graph.SerializeToString()), X.astype(np.float32))


def test_everything_else_stays_as_it_was() -> None:
    model = convert(LogisticRegression(max_iter=500).fit(X, KINDS), X).onnx_bytes
    changed = onnx.load_from_string(with_scores(model, "probabilities"))
    onnx.checker.check_model(changed)
    original = onnx.load_from_string(model)
    assert changed.graph.input == original.graph.input
    assert changed.graph.output == original.graph.output
    assert changed.graph.initializer == original.graph.initializer
    assert changed.opset_import == original.opset_import
    assert [n.output for n in changed.graph.node] == [n.output for n in original.graph.node]


@pytest.mark.parametrize(
    "model",
    [b"", b"\xff\xff", b"\x3a\x05ab", models.linear(3).SerializeToString()],
    ids=["nothing", "noise", "cut off", "no classifier"],
)
def test_what_does_not_end_as_a_classifier_is_refused(model: bytes) -> None:
    with pytest.raises(UnknownGraphError):
        with_scores(model, "prediction")


@given(st.binary(max_size=200))
def test_no_bytes_lead_further_than_a_refusal(model: bytes) -> None:
    with pytest.raises(UnknownGraphError):
        with_scores(model, "y")
