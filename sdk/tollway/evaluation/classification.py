"""Metrics of classifiers, as scikit-learn defines them, over many resamples at once."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tollway.evaluation.bootstrap import Values

Array = npt.NDArray[Any]

COUNTED: Final = (
    "accuracy",
    "balanced_accuracy",
    "precision_macro",
    "recall_macro",
    "f1_macro",
)
BINARY: Final = ("precision", "recall", "f1", "specificity")
"""Of the positive class: the second of the model's two labels."""
SCORED: Final = ("roc_auc", "log_loss", "brier")
"""Those that need probabilities."""
NAMES: Final = (*COUNTED, *BINARY, *SCORED)


CLASS_METRICS: Final = ("precision", "recall", "f1")


def class_key(index: int, metric: str) -> str:
    """What :meth:`Confusion.by_class` calls a metric of a class."""
    return f"{index} {metric}"


class Confusion:
    """Truth against prediction: the cells of the confusion matrix that hold rows."""

    def __init__(self, truth: Array, predicted: Array, classes: int, *, binary: bool) -> None:
        """Both are positions of classes."""
        pairs = truth.astype(np.int64) * classes + predicted
        places, self.cells = np.unique(pairs, return_counts=True)
        self._classes = classes
        truths, answers = places // classes, places % classes
        self._right = truths == answers
        self._by_truth = _Groups(truths, classes)
        self._by_answer = _Groups(answers, classes)
        self._binary = binary

    def metrics(self, counts: Array) -> Values:
        """Every metric that needs no probabilities, from counts of the cells."""
        hits, given, true = self._sums(counts)
        rows = counts.sum(axis=1)
        precision, recall, f1 = _ratios(hits, given, true)
        seen = (given + true) > 0  # scikit-learn averages over the classes that occur
        found = {
            "accuracy": hits.sum(axis=1) / rows,
            "balanced_accuracy": _mean(recall, true > 0),
            "precision_macro": _mean(precision, seen),
            "recall_macro": _mean(recall, seen),
            "f1_macro": _mean(f1, seen),
        }
        if self._binary:
            negatives = true[:, 0]
            with np.errstate(invalid="ignore", divide="ignore"):
                specificity = np.where(negatives > 0, hits[:, 0] / negatives, np.nan)
            found |= {
                "precision": precision[:, 1],
                "recall": np.where(true[:, 1] > 0, recall[:, 1], np.nan),
                "f1": f1[:, 1],
                "specificity": specificity,
            }
        return found

    def by_class(self, counts: Array) -> Values:
        """Each class against all others, under :func:`class_key`."""
        found = dict(zip(CLASS_METRICS, _ratios(*self._sums(counts)), strict=True))
        return {
            class_key(index, name): values[:, index]
            for index in range(self._classes)
            for name, values in found.items()
        }

    def _sums(self, counts: Array) -> tuple[Array, Array, Array]:
        """By class: rows that were told rightly, that were told so, and that truly are so."""
        return (
            self._by_truth.sums(counts * self._right),
            self._by_answer.sums(counts),
            self._by_truth.sums(counts),
        )


class _Groups:
    """Sums of counts by class, without a matrix of all cells by all classes."""

    def __init__(self, places: Array, classes: int) -> None:
        self._order = np.argsort(places, kind="stable")
        self._known, self._starts = np.unique(places[self._order], return_index=True)
        self._classes = classes

    def sums(self, counts: Array) -> Array:
        """A line a resample, a column a class."""
        found = np.zeros((len(counts), self._classes))
        found[:, self._known] = np.add.reduceat(counts[:, self._order], self._starts, axis=1)
        return found


class Scores:
    """Probabilities against the truth."""

    def __init__(self, truth: Array, probabilities: Array, wanted: Sequence[str]) -> None:
        """``truth``: positions of classes; one that has no probability is beyond the last."""
        classes = probabilities.shape[1]
        one_hot = _one_hot(truth, max(classes, int(truth.max(initial=0)) + 1))[:, :classes]
        self._losses: dict[str, Array] = {}
        if "log_loss" in wanted:
            self._losses["log_loss"] = _log_losses(probabilities, one_hot)
        if "brier" in wanted:
            squares = (probabilities - one_hot) ** 2
            self._losses["brier"] = squares[:, 1] if classes == 2 else squares.sum(axis=1)  # noqa: PLR2004
        self._curves: list[_Curve] = []
        if "roc_auc" in wanted:
            first = 1 if classes == 2 else 0  # noqa: PLR2004 -- of two, one curve says all
            self._curves = [
                _Curve(probabilities[:, index], one_hot[:, index])
                for index in range(first, classes)
            ]

    def metrics(self, weights: Array) -> Values:
        """The metrics under weights of the rows."""
        rows = weights.sum(axis=1)
        found = {name: weights @ losses / rows for name, losses in self._losses.items()}
        if self._curves:
            # Of more than two classes: each against the rest, and the mean of these.
            found["roc_auc"] = np.mean([curve.area(weights) for curve in self._curves], axis=0)
        return found


class _Curve:
    """The area under the ROC curve of one score: how often a positive row has the larger one, a tie
    counting half (Mann and Whitney)."""

    def __init__(self, score: Array, positive: Array) -> None:
        self._order = np.argsort(score, kind="stable")
        ordered = score[self._order]
        self._starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self._positive = positive[self._order]

    def area(self, weights: Array) -> Array:
        """The area in each resample; NaN where it lacks positive or negative rows."""
        ordered = weights[:, self._order]
        positive = np.add.reduceat(ordered * self._positive, self._starts, axis=1)
        negative = np.add.reduceat(ordered * (1 - self._positive), self._starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pairs > 0, (positive * below).sum(axis=1) / pairs, np.nan)


def _log_losses(probabilities: Array, one_hot: Array) -> Array:
    """Of each row. Clipped by FP32's precision, as scikit-learn clips what is FP32: the answers
    are, whatever they are held in."""
    smallest = float(np.finfo(np.float32).eps)
    clipped = np.clip(probabilities, smallest, 1 - smallest)
    known = one_hot.any(axis=1)
    said = np.where(known, (clipped * one_hot).sum(axis=1), smallest)
    losses: Array = -np.log(said)
    return losses


def _ratios(hits: Array, given: Array, true: Array) -> tuple[Array, Array, Array]:
    """Precision, recall and F1; 0 where there is nothing to divide by, as scikit-learn has it."""
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(given > 0, hits / given, 0.0)
        recall = np.where(true > 0, hits / true, 0.0)
        f1 = np.where(given + true > 0, 2 * hits / (given + true), 0.0)
    return precision, recall, f1


def _mean(values: Array, where: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Array = np.where(where, values, 0.0).sum(axis=1) / where.sum(axis=1)
    return means


def _one_hot(places: Array, classes: int) -> Array:
    found = np.zeros((len(places), classes))
    found[np.arange(len(places)), places] = 1.0
    return found
