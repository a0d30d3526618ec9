"""Metrics are scikit-learn's, in every resample, and their intervals hold what they promise."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from registry.criteria import Measure
from registry.measures import smaller_is_better
from tollway.evaluation import bootstrap
from tollway.evaluation.classification import (
    BINARY,
    CLASS_METRICS,
    COUNTED,
    SCORED,
    Confusion,
    Scores,
    class_key,
)
from tollway.evaluation.classification import NAMES as CLASSIFICATION
from tollway.evaluation.regression import NAMES, Errors
from tollway.evaluation.truth import LOWER_IS_BETTER

CASES = [(2, 300), (2, 17), (3, 200), (7, 500), (40, 90)]


def rows_of(classes: int, rows: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """Truth, predictions and probabilities that know something of it, with ties."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(rows) % classes)
    scores = rng.normal(size=(rows, classes)).round(1)
    scores[np.arange(rows), truth] += 1
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return truth, probabilities.argmax(axis=1), probabilities


def expected(truth: Any, predicted: Any, probabilities: Any) -> dict[str, float]:
    """What scikit-learn says."""
    found = {
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
        "precision_macro": sk.precision_score(truth, predicted, average="macro", zero_division=0),
        "recall_macro": sk.recall_score(truth, predicted, average="macro", zero_division=0),
        "f1_macro": sk.f1_score(truth, predicted, average="macro", zero_division=0),
        "log_loss": sk.log_loss(truth, probabilities, labels=list(range(probabilities.shape[1]))),
    }
    if probabilities.shape[1] == 2:
        found |= {
            "precision": sk.precision_score(truth, predicted, zero_division=0),
            "recall": sk.recall_score(truth, predicted),
            "f1": sk.f1_score(truth, predicted),
            "specificity": sk.recall_score(truth, predicted, pos_label=0),
            "roc_auc": sk.roc_auc_score(truth, probabilities[:, 1]),
            "brier": sk.brier_score_loss(truth, probabilities[:, 1]),
        }
    else:
        one_hot = np.eye(probabilities.shape[1])[truth]
        found |= {
            "roc_auc": sk.roc_auc_score(truth, probabilities, multi_class="ovr"),
            "brier": float(((probabilities - one_hot) ** 2).sum(axis=1).mean()),
        }
    return found


@pytest.mark.parametrize(("classes", "rows"), CASES)
def test_metrics_of_classifiers_are_scikit_learns(classes: int, rows: int) -> None:
    truth, predicted, probabilities = rows_of(classes, rows)
    confusion = Confusion(truth, predicted, classes, binary=classes == 2)
    scores = Scores(truth, probabilities, SCORED)

    found = {**confusion.metrics(confusion.cells[None]), **scores.metrics(np.ones((1, rows)))}

    wanted = expected(truth, predicted, probabilities)
    assert set(found) == set(wanted)
    assert {name: values[0] for name, values in found.items()} == pytest.approx(wanted, rel=1e-9)
    assert set(found) == {*COUNTED, *SCORED, *(BINARY if classes == 2 else ())}


@pytest.mark.parametrize(("classes", "rows"), CASES[:4])
def test_a_weighted_row_counts_as_that_many_rows(classes: int, rows: int) -> None:
    truth, predicted, probabilities = rows_of(classes, rows)
    scores = Scores(truth, probabilities, SCORED)
    weights = np.random.default_rng(1).integers(0, 4, (3, rows)).astype(float)

    found = scores.metrics(weights)

    for line in range(3):
        repeated = np.repeat(np.arange(rows), weights[line].astype(int))
        wanted = expected(truth[repeated], predicted[repeated], probabilities[repeated])
        for name in SCORED:
            assert found[name][line] == pytest.approx(wanted[name], rel=1e-9)


def test_metrics_of_one_class_are_scikit_learns() -> None:
    truth, predicted, _ = rows_of(4, 300)
    confusion = Confusion(truth, predicted, 4, binary=False)
    wanted = sk.precision_recall_fscore_support(truth, predicted)
    found = confusion.by_class(confusion.cells[None])
    for index in range(4):
        values = [found[class_key(index, name)][0] for name in CLASS_METRICS]
        assert values == pytest.approx([float(part[index]) for part in wanted[:3]])


def test_what_is_not_defined_is_left_out() -> None:
    truth, rows = np.zeros(10, int), 10
    probabilities = np.full((rows, 2), 0.5)
    confusion = Confusion(truth, truth, 2, binary=True)
    rng = np.random.default_rng(0)

    found = bootstrap.of_cells(confusion.metrics, confusion.cells, 50, rng)
    found |= bootstrap.of_weights(Scores(truth, probabilities, SCORED).metrics, rows, 50, rng)

    assert "recall" not in found, "there is no positive row"
    assert "roc_auc" not in found
    assert found["accuracy"].value == 1.0
    assert found["log_loss"].value == pytest.approx(math.log(2))


def test_a_class_that_the_model_does_not_know_is_told_wrongly_and_costs_what_a_zero_would() -> None:
    truth = np.array([0, 1, 2])
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])

    found = Scores(truth, probabilities, SCORED).metrics(np.ones((1, 3)))

    assert found["log_loss"][0] > 5
    assert np.isfinite(found["brier"][0])


numbers = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=30), st.integers(0, 2**32 - 1))
def test_metrics_of_regressors_are_scikit_learns_also_under_weights(
    pairs: list[tuple[float, float]], seed: int
) -> None:
    truth, predicted = np.array(pairs).T
    weights = np.random.default_rng(seed).integers(0, 3, (2, len(pairs))).astype(float)
    weights[0] = 1
    weights[1, 0] = max(weights[1, 0], 1)

    found = Errors(truth, predicted, NAMES).metrics(weights)

    for line in range(2):
        repeated = np.repeat(np.arange(len(pairs)), weights[line].astype(int))
        t, p = truth[repeated], predicted[repeated]
        close = {"rel": 1e-6, "abs": 1e-9}
        assert found["rmse"][line] == pytest.approx(sk.root_mean_squared_error(t, p), **close)
        assert found["mae"][line] == pytest.approx(sk.mean_absolute_error(t, p), **close)
        assert found["median_ae"][line] == pytest.approx(sk.median_absolute_error(t, p), **close)
        if np.ptp(t) > 1e-2:
            assert found["r2"][line] == pytest.approx(sk.r2_score(t, p), rel=1e-5, abs=1e-6)
        if "mape" in found:
            wanted = sk.mean_absolute_percentage_error(t, p)
            assert found["mape"][line] == pytest.approx(wanted, **close)
    assert ("mape" in found) == bool((truth != 0).all())


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Accuracy 0.8 and an error of mean 1 over 200 evaluations: 95 % of the intervals hold them."""
    rng = np.random.default_rng(7)
    accuracy = mae = 0
    for _ in range(200):
        truth = np.zeros(150, int)
        confusion = Confusion(truth, (rng.random(150) > 0.8).astype(int), 2, binary=True)
        one = bootstrap.of_cells(confusion.metrics, confusion.cells, 300, rng)["accuracy"]
        errors = Errors(np.zeros(150), rng.exponential(1.0, 150), ("mae",))
        other = bootstrap.of_weights(errors.metrics, 150, 300, rng)["mae"]
        assert one.low is not None
        assert one.high is not None
        assert other.low is not None
        assert other.high is not None
        accuracy += one.low <= 0.8 <= one.high
        mae += other.low <= 1.0 <= other.high

    assert 180 <= accuracy <= 200
    assert 180 <= mae <= 200


def test_the_cells_and_the_rows_give_the_same_interval() -> None:
    """Counting cells is a short cut: the intervals of accuracy agree within the resampling."""
    rng = np.random.default_rng(3)
    truth, predicted, _ = rows_of(3, 400)
    confusion = Confusion(truth, predicted, 3, binary=False)
    right = (truth == predicted).astype(float)

    def accuracy(weights: Any) -> dict[str, Any]:
        return {"accuracy": weights @ right / weights.sum(axis=1)}

    one = bootstrap.of_cells(confusion.metrics, confusion.cells, 4000, rng)["accuracy"]
    other = bootstrap.of_weights(accuracy, 400, 4000, rng)["accuracy"]

    assert one.value == pytest.approx(other.value)
    assert one.low == pytest.approx(other.low, abs=0.01)
    assert one.high == pytest.approx(other.high, abs=0.01)


def test_the_same_seed_gives_the_same_intervals_and_many_rows_fewer_resamples() -> None:
    errors = Errors(np.zeros(50), np.arange(50.0), NAMES)
    first, second = (
        bootstrap.of_weights(errors.metrics, 50, 200, np.random.default_rng(5)) for _ in range(2)
    )

    assert first == second
    assert bootstrap.affordable(100, 1000) == 1000
    assert bootstrap.affordable(500_000, 1000) == bootstrap.FEWEST


def test_the_server_knows_of_every_metric_whether_more_of_it_is_better() -> None:
    for name in (*CLASSIFICATION, *NAMES):
        assert smaller_is_better(Measure(name=name)) is (name in LOWER_IS_BETTER), name
