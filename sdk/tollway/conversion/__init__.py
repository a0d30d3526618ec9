"""Turn an estimator into an ONNX graph that is proven to answer as the estimator does."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tollway.conversion.errors import ConversionError, ParityError
from tollway.conversion.types import (
    ColumnSpec,
    ColumnType,
    Converted,
    Label,
    Parity,
    Task,
    TensorSpec,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "ColumnSpec",
    "ColumnType",
    "ConversionError",
    "Converted",
    "Label",
    "Parity",
    "ParityError",
    "Task",
    "TensorSpec",
    "convert",
    "decode_predictions",
    "decode_probabilities",
    "encode_inputs",
]


def convert(
    model: object,
    X: object = None,
    y: object = None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Converted:
    """Convert ``model`` and prove that the graph answers as it does on the rows of ``X``.

    ``model`` is a fitted scikit-learn estimator or pipeline, a LightGBM or XGBoost model, a path to
    an ``.onnx`` file, or an ``onnx.ModelProto``. ``progress`` is called with one short line per step.
    Raises :class:`ConversionError` or :class:`ParityError`.
    """
    raise NotImplementedError


def encode_inputs(
    inputs: Sequence[TensorSpec], columns: Sequence[ColumnSpec], X: object
) -> "dict[str, npt.NDArray[np.generic]]":
    """Rows (numpy, DataFrame, list of lists, of dicts or of strings) as the graph's named tensors."""
    raise NotImplementedError


def decode_predictions(
    outputs: "dict[str, npt.NDArray[np.generic]]", task: Task, labels: Sequence[Label]
) -> "npt.NDArray[np.generic]":
    """What the estimator's own ``predict`` would return (``transform`` for transformers)."""
    raise NotImplementedError


def decode_probabilities(
    outputs: "dict[str, npt.NDArray[np.generic]]", task: Task, labels: Sequence[Label]
) -> "npt.NDArray[np.generic]":
    """What the estimator's own ``predict_proba`` would return; ``ValueError`` if it has none."""
    raise NotImplementedError
