"""What the original estimator answers: the truth that a graph is compared with."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import base

from tollway.conversion.foreign import Estimator, Foreign
from tollway.conversion.rows import Rows
from tollway.conversion.types import Label, Task

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Answers:
    """The original's answers for some rows.

    ``margin`` is the distance between its two best scores per row, None where it has no scores.
    """

    main: Array
    probabilities: Array | None = None
    scores: Array | None = None
    margin: Array | None = None


def task_of(model: Estimator) -> Task:
    """What the estimator does, by scikit-learn's own account of it."""
    last = model.steps[-1][1] if isinstance(getattr(model, "steps", None), list) else model
    if last is not model and hasattr(last, "get_params"):
        return task_of(last)
    if not hasattr(model, "predict"):
        return "transform"
    kind = getattr(model, "_estimator_type", None)
    if base.is_classifier(model) or kind == "classifier":
        return "classification"
    if base.is_regressor(model) or kind == "regressor" or _is_isotonic_or_pls(model):
        return "regression"
    if base.is_outlier_detector(model):
        return "outlier"
    if base.is_clusterer(model) or hasattr(model, "means_"):
        return "clustering"
    return "transform" if hasattr(model, "transform") else "regression"


def _is_isotonic_or_pls(model: Estimator) -> bool:
    return type(model).__name__ in {"IsotonicRegression", "PLSRegression", "PLSCanonical", "CCA"}


def labels_of(model: Estimator, task: Task) -> list[Label]:
    """A classifier's classes as plain values, in the order of its probabilities."""
    if task != "classification":
        return []
    classes = np.asarray(model.classes_)
    labels: list[Label] = classes.tolist()
    return [label if isinstance(label, (bool, int, float)) else str(label) for label in labels]


def answers(model: Estimator, rows: Rows, task: Task) -> Answers:
    """Ask the original. Raises whatever it raises on rows that it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if task == "transform":
            return Answers(main=_dense(model.transform(rows.native)))
        main = np.asarray(model.predict(rows.native))
        probabilities = scores = margin = None
        if hasattr(model, "predict_proba"):
            probabilities = np.asarray(model.predict_proba(rows.native), dtype=np.float64)
            margin = _between_best(probabilities)
        if hasattr(model, "decision_function"):
            scores = np.asarray(model.decision_function(rows.native), dtype=np.float64)
            margin = _between_best(scores) if margin is None else margin
        elif task == "clustering" and hasattr(model, "transform"):
            scores = np.asarray(model.transform(rows.native), dtype=np.float64)
            margin = _between_best(-scores)
        return Answers(main=main, probabilities=probabilities, scores=scores, margin=margin)


def _dense(value: Foreign) -> Array:
    if hasattr(value, "toarray"):
        return np.asarray(value.toarray())
    return np.asarray(value)


def _between_best(scores: Array) -> Array:
    if scores.ndim == 1:
        return np.abs(scores)
    if scores.shape[1] == 1:
        return np.abs(scores[:, 0])
    best = np.sort(scores, axis=1)
    return np.asarray(best[:, -1] - best[:, -2])
