"""The graph's outputs back to what the estimator's own methods return."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tollway.conversion.types import Label, Task

Array = npt.NDArray[Any]

MAIN_OUTPUT: dict[str, str] = {
    "classification": "label",
    "clustering": "label",
    "outlier": "label",
    "regression": "prediction",
    "transform": "transformed",
}
"""Task -> the output that answers ``predict`` (``transform`` for transformers)."""


def decode_predictions(outputs: Mapping[str, Array], task: Task, labels: Sequence[Label]) -> Array:
    """What the estimator's own ``predict`` would return (``transform`` for transformers).

    A classifier's labels come back in the type of its classes; numbers as float64. A graph of
    unknown task gives its first output as it is.
    """
    name = MAIN_OUTPUT.get(task, "")
    if name not in outputs:
        return np.asarray(next(iter(outputs.values())))
    answer = np.asarray(outputs[name])
    if task == "classification":
        return _labelled(answer, labels)
    if task in {"clustering", "outlier"}:
        return answer.astype(np.int64)
    return answer.astype(np.float64) if answer.dtype.kind == "f" else answer


def decode_probabilities(
    outputs: Mapping[str, Array], task: Task, labels: Sequence[Label]
) -> Array:
    """What the estimator's own ``predict_proba`` would return, one float64 column per label."""
    if "probabilities" not in outputs:
        raise ValueError(
            f"this model gives no probabilities (task {task}, outputs {', '.join(outputs)})"
        )
    probabilities = np.asarray(outputs["probabilities"]).astype(np.float64)
    if labels and probabilities.shape[-1:] != (len(labels),):
        raise ValueError(
            f"{probabilities.shape[-1]} probabilities per row for {len(labels)} labels"
        )
    return probabilities


def _labelled(answer: Array, labels: Sequence[Label]) -> Array:
    if not labels:
        return answer
    if all(isinstance(label, bool) for label in labels):
        return answer.astype(bool)
    if all(isinstance(label, int) for label in labels):
        return answer.astype(np.int64)
    if all(isinstance(label, (int, float)) for label in labels):
        return answer.astype(np.float64)
    return np.asarray([_text(value) for value in answer.ravel().tolist()]).reshape(answer.shape)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
