"""Outputs come back in the type and shape of the estimator's own methods."""

import numpy as np
import pytest

from tollway.conversion import decode_predictions, decode_probabilities
from tollway.conversion.types import Label


@pytest.mark.parametrize(
    ("raw", "labels", "kind", "values"),
    [
        (np.asarray([1, 0]), [False, True], "b", [True, False]),
        (np.asarray([1, 0]), [0, 1], "i", [1, 0]),
        (np.asarray([1, 0]), [0.0, 1.0], "f", [1.0, 0.0]),
        (np.asarray(["b", "a"], dtype=object), ["a", "b"], "U", ["b", "a"]),
        (np.asarray([b"\xc5\x82"], dtype=object), ["ł"], "U", ["ł"]),
    ],
)
def test_labels_have_the_type_of_the_classes(
    raw: np.ndarray, labels: list[Label], kind: str, values: list[Label]
) -> None:
    decoded = decode_predictions({"label": raw}, "classification", labels)
    assert decoded.dtype.kind == kind
    assert decoded.tolist() == values


def test_numbers_are_float64_and_other_tasks_use_their_own_output() -> None:
    values = np.asarray([1.5, 2.5], dtype=np.float32)
    for task, name in (("regression", "prediction"), ("transform", "transformed")):
        decoded = decode_predictions({name: values}, task, [])  # type: ignore[arg-type]
        assert decoded.dtype == np.float64
    clusters = decode_predictions({"label": np.asarray([1]), "scores": values}, "clustering", [])
    assert clusters.tolist() == [1]


def test_a_graph_of_unknown_task_gives_its_first_output() -> None:
    first = np.asarray([[1]])
    assert decode_predictions({"a": first, "b": first * 2}, "unknown", []).tolist() == [[1]]


def test_probabilities_are_float64_and_a_model_without_them_says_so() -> None:
    given = {"label": np.asarray([0]), "probabilities": np.asarray([[0.25, 0.75]], np.float32)}
    decoded = decode_probabilities(given, "classification", [0, 1])
    assert decoded.dtype == np.float64
    with pytest.raises(ValueError, match="no probabilities"):
        decode_probabilities({"prediction": np.asarray([1.0])}, "regression", [])
    with pytest.raises(ValueError, match="2 probabilities per row for 3 labels"):
        decode_probabilities(given, "classification", [0, 1, 2])
