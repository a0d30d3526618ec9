"""Answers against the truth: which metrics there are, and their values with intervals."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from tollway.errors import InvalidRequestError
from tollway.evaluation import classification, regression
from tollway.evaluation.bootstrap import of_cells, of_weights
from tollway.evaluation.evidence import ClassEvidence, Measured
from tollway.evaluation.scoring import Answers

Array = npt.NDArray[Any]

LOWER_IS_BETTER: Final = frozenset({"log_loss", "brier", "rmse", "mae", "median_ae", "mape"})
MOST_CURVES: Final = 20
"""Classes beyond which the area under their curves has no interval: each is drawn anew."""
MOST_CLASSES: Final = 100
"""Classes that have metrics of their own."""


class Judge(Protocol):
    """Knows the truth of some rows."""

    names: tuple[str, ...]
    """Metrics that it can measure."""
    main: str
    """The one that an estimator's own ``score`` gives."""
    positive: str | None

    def measure(
        self, answers: Answers, rows: Array, resamples: int, seed: Sequence[int]
    ) -> dict[str, Measured]:
        """The metrics of the rows in ``rows`` (positions), with intervals of ``resamples``."""
        ...

    def classes(self, answers: Answers, resamples: int, seed: int) -> tuple[ClassEvidence, ...]:
        """The metrics by class, of all rows."""
        ...


class Classes:
    """The truth of a classifier."""

    def __init__(
        self, truth: Array, labels: Sequence[object], answers: Answers, wanted: Sequence[str] | None
    ) -> None:
        """Raises InvalidRequestError where no truth is one of ``labels``."""
        given = [_plain(value) for value in truth.tolist()]
        known = [_plain(label) for label in labels]
        if not known:
            said = {_plain(value) for value in answers.predictions.tolist()}
            known = sorted({*given, *said}, key=lambda label: (str(type(label)), label))
        if not set(known) & set(given):
            given = _as_text(given, known)
        if not set(known) & set(given):
            raise InvalidRequestError(
                f"no truth is one of the model's classes: y has {given[0]!r}, the classes are "
                + ", ".join(repr(label) for label in known[:10])
            )
        known_ones = set(known)
        self._labels = [*known, *dict.fromkeys(v for v in given if v not in known_ones)]
        self._places = {label: place for place, label in enumerate(self._labels)}
        self._truth = np.array([self._places[value] for value in given])
        two = len(self._labels) == 2  # noqa: PLR2004
        self.positive = str(self._labels[1]) if two else None
        names = classification.COUNTED + (classification.BINARY if two else ())
        if answers.probabilities is not None:
            names += classification.SCORED
        self.names = chosen(wanted, names)
        self.main = "accuracy"

    def measure(
        self, answers: Answers, rows: Array, resamples: int, seed: Sequence[int]
    ) -> dict[str, Measured]:
        """See :class:`Judge`."""
        rng = np.random.default_rng(seed)
        confusion = self._confusion(answers, rows)
        found = of_cells(confusion.metrics, confusion.cells, resamples, rng)
        scored = [name for name in self.names if name in classification.SCORED]
        many = len(self._labels) > MOST_CURVES
        for names, drawn in (
            ([name for name in scored if not (many and name == "roc_auc")], resamples),
            ([name for name in scored if many and name == "roc_auc"], 0),
        ):
            if names and answers.probabilities is not None:
                probabilities = answers.probabilities[rows]
                scores = classification.Scores(self._truth[rows], probabilities, names)
                found |= of_weights(scores.metrics, len(rows), drawn, rng)
        return {name: found[name] for name in self.names if name in found}

    def classes(self, answers: Answers, resamples: int, seed: int) -> tuple[ClassEvidence, ...]:
        """See :class:`Judge`."""
        if len(self._labels) > MOST_CLASSES:
            return ()
        confusion = self._confusion(answers, np.arange(len(self._truth)))
        counts = np.bincount(self._truth, minlength=len(self._labels))
        rng = np.random.default_rng(seed)
        found = of_cells(confusion.by_class, confusion.cells, resamples, rng)
        return tuple(
            ClassEvidence(
                label=str(label),
                rows=int(counts[place]),
                metrics={
                    name: found[classification.class_key(place, name)]
                    for name in classification.CLASS_METRICS
                },
            )
            for place, label in enumerate(self._labels)
        )

    def _confusion(self, answers: Answers, rows: Array) -> classification.Confusion:
        said = answers.predictions.reshape(len(answers.predictions), -1)[rows, 0].tolist()
        beyond = len(self._labels)  # an answer that is no label of the model is wrong
        predicted = np.array([self._places.get(_plain(value), beyond) for value in said])
        classes = max(beyond, int(predicted.max(initial=0)) + 1)
        return classification.Confusion(
            self._truth[rows], predicted, classes, binary=self.positive is not None
        )


class Estimates:
    """The truth of a regressor."""

    positive: str | None = None

    def __init__(self, truth: Array, wanted: Sequence[str] | None) -> None:
        if truth.dtype.kind == "O":
            raise InvalidRequestError("y holds text, and the model estimates numbers")
        self._truth = truth.astype(np.float64)
        self.names = chosen(wanted, regression.NAMES)
        self.main = "r2"

    def measure(
        self, answers: Answers, rows: Array, resamples: int, seed: Sequence[int]
    ) -> dict[str, Measured]:
        """See :class:`Judge`."""
        said = answers.predictions.reshape(len(answers.predictions), -1)
        if said.shape[1] != 1:
            raise InvalidRequestError(f"the model estimates {said.shape[1]} numbers a row, not one")
        errors = regression.Errors(self._truth[rows], said[rows, 0].astype(np.float64), self.names)
        rng = np.random.default_rng(seed)
        found = of_weights(errors.metrics, len(rows), resamples, rng)
        return {name: found[name] for name in self.names if name in found}

    def classes(
        self,
        answers: Answers,  # noqa: ARG002 -- a regressor has none
        resamples: int,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> tuple[ClassEvidence, ...]:
        """See :class:`Judge`."""
        return ()


def check_task(task: str) -> None:
    """InvalidRequestError for a task that has no truth to compare with."""
    if task not in {"classification", "outlier", "regression", "unknown"}:
        raise InvalidRequestError(
            f"a model for {task} has no truth to be compared with: classifiers and regressors are"
            " evaluated"
        )


def judge(
    task: str,
    truth: Array,
    labels: Sequence[object],
    answers: Answers,
    wanted: Sequence[str] | None,
) -> Judge:
    """Who judges the answers of a model of this task, which is one of :func:`check_task`."""
    kind = task
    if task == "unknown":  # a graph that came without its estimator: what its answers look like
        counted = answers.predictions.dtype.kind in "biuOUS"
        kind = "classification" if labels or counted else "regression"
    if kind == "regression":
        return Estimates(truth, wanted)
    return Classes(truth, labels, answers, wanted)


def chosen(wanted: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The metrics that were asked for: all without ``wanted``."""
    if wanted is None:
        return tuple(known)
    for name in wanted:
        if name not in known:
            raise InvalidRequestError(
                f"there is no metric {name!r} of this model; there are {', '.join(known)}"
            ).regarding("metrics")
    if not wanted:
        raise InvalidRequestError("metrics is empty: name one, or leave it out for all").regarding(
            "metrics"
        )
    return tuple(dict.fromkeys(wanted))


def _as_text(given: list[Any], known: list[Any]) -> list[Any]:
    """Truths that a file's reader took for numbers, as the text that the classes are."""
    if all(isinstance(label, str) for label in known):
        return [str(value) for value in given]
    return given


def _plain(value: Any) -> Any:  # noqa: ANN401 -- a label of any type
    """A label as it compares: 1.0, 1 and true are one, text is text."""
    if isinstance(value, bytes):
        return value.decode()
    return value
