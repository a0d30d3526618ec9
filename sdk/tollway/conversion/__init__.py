"""Turn an estimator into an ONNX graph that is proven to answer as the estimator does."""

from tollway.conversion.encoding import InputError, encode_inputs
from tollway.conversion.entry import convert
from tollway.conversion.errors import ConversionError, ParityError
from tollway.conversion.outputs import decode_predictions, decode_probabilities
from tollway.conversion.types import (
    ColumnSpec,
    ColumnType,
    Converted,
    Label,
    Parity,
    Task,
    TensorSpec,
)

__all__ = [
    "ColumnSpec",
    "ColumnType",
    "ConversionError",
    "Converted",
    "InputError",
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
