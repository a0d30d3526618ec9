"""Rows to named input tensors: the one encoder that parity and ``Client.predict`` share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tollway.conversion.foreign import Frame
from tollway.conversion.rows import frame_column, has_names, is_missing, plain_column
from tollway.conversion.types import ColumnSpec, TensorSpec
from tollway.errors import TollwayError

NUMPY_TYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32,
    "UINT64": np.uint64, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32,
    "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
    "BYTES": np.object_,
}  # fmt: skip

Array = npt.NDArray[np.generic]


class InputError(TollwayError, ValueError):
    """The rows do not fit the model's inputs; the message names the column."""


def encode_inputs(
    inputs: Sequence[TensorSpec], columns: Sequence[ColumnSpec], X: object
) -> dict[str, Array]:
    """Rows (numpy, DataFrame, list of lists, of dicts or of strings) as the graph's named tensors.

    Frames and dicts are matched by column name, arrays by position. A missing value becomes NaN in
    a float column and the column's declared spelling in a string column. A mapping of input names
    to arrays is passed on with the right types. Raises :class:`InputError`.
    """
    if isinstance(X, Mapping):
        return _given_tensors(inputs, X)
    if not columns:
        return _without_columns(inputs, X)
    table = _Table(X, columns)
    encoded: dict[str, Array] = {}
    for spec in inputs:
        members = [i for i, column in enumerate(columns) if column["input"] == spec["name"]]
        parts = [_column(table.column(i), columns[i], spec["datatype"]) for i in members]
        encoded[spec["name"]] = np.stack(parts, axis=1)
    return encoded


def _given_tensors(inputs: Sequence[TensorSpec], tensors: Mapping[str, object]) -> dict[str, Array]:
    absent = [spec["name"] for spec in inputs if spec["name"] not in tensors]
    if absent:
        raise InputError(f"input {absent[0]!r} is missing; the model takes {_names(inputs)}")
    return {
        spec["name"]: np.asarray(tensors[spec["name"]], dtype=NUMPY_TYPES[spec["datatype"]])
        for spec in inputs
    }


def _without_columns(inputs: Sequence[TensorSpec], X: object) -> dict[str, Array]:
    if len(inputs) != 1:
        raise InputError(f"give a mapping of names to arrays: the model takes {_names(inputs)}")
    spec = inputs[0]
    rows = X.toarray() if hasattr(X, "toarray") else X
    try:
        return {spec["name"]: np.asarray(rows, dtype=NUMPY_TYPES[spec["datatype"]])}
    except (TypeError, ValueError) as error:
        raise InputError(
            f"X is no array of {spec['datatype']}: {error}; the model was deployed without rows, so"
            " it knows no columns"
        ) from error


def _names(inputs: Sequence[TensorSpec]) -> str:
    return ", ".join(repr(spec["name"]) for spec in inputs)


class _Table:
    """Columns of ``X`` on demand, by position or by name."""

    def __init__(self, X: Frame, columns: Sequence[ColumnSpec]) -> None:
        self._columns = columns
        self._frame: Any = None
        self._array: npt.NDArray[Any] | None = None
        if has_names(X):
            self._frame = X
            self._by_name = {str(name): name for name in X.columns}
            absent = [c["name"] for c in columns if c["name"] not in self._by_name]
            positional = [c["name"] for c in columns] == [f"x{i}" for i in range(len(columns))]
            if absent and positional and len(self._by_name) == len(columns):
                self._by_name = dict(zip((c["name"] for c in columns), X.columns, strict=True))
            elif absent:
                raise InputError(f"column {absent[0]!r} is missing from the frame")
        else:
            self._array = _array(X, columns)

    def column(self, i: int) -> npt.NDArray[Any]:
        if self._array is not None:
            return plain_column(self._array[:, i])
        return frame_column(self._frame, self._by_name[self._columns[i]["name"]])


def _array(X: Frame, columns: Sequence[ColumnSpec]) -> npt.NDArray[Any]:
    if hasattr(X, "toarray"):
        X = X.toarray()
    if isinstance(X, (list, tuple)) and X and all(isinstance(row, Mapping) for row in X):
        X = [[_cell(row, column["name"]) for column in columns] for row in X]
    array = X if isinstance(X, np.ndarray) else _from_lists(X)
    if array.ndim == 1 and len(columns) == 1:
        array = array.reshape(-1, 1)
    if array.ndim != 2 or array.shape[1] != len(columns):  # noqa: PLR2004
        raise InputError(
            f"X has shape {array.shape}; the model takes rows of {len(columns)} columns"
        )
    return array


def _cell(row: Mapping[str, object], name: str) -> object:
    if name not in row:
        raise InputError(f"column {name!r} is missing from a row")
    return row[name]


def _from_lists(X: object) -> npt.NDArray[Any]:
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise InputError("the rows of X have different lengths") from error
    return np.asarray(X, dtype=object) if array.dtype.kind in "USO" else array


def _column(values: npt.NDArray[Any], column: ColumnSpec, datatype: str) -> Array:
    name = column["name"]
    if datatype == "BYTES":
        out = np.empty(len(values), dtype=object)
        for i, value in enumerate(values.tolist()):
            out[i] = _text(value, column, i)
        return out
    if values.dtype == object:
        bad = next(v for v in values.tolist() if v is not None)
        raise InputError(f"column {name!r}: {bad!r} is not {column['type']}")
    if datatype in {"FP32", "FP64"}:
        return values.astype(NUMPY_TYPES[datatype])
    if values.dtype.kind == "f" and not np.all(np.isfinite(values)):
        raise InputError(f"column {name!r} is {column['type']} and takes no missing values")
    if values.dtype.kind == "f" and np.any(values != np.trunc(values)):
        raise InputError(f"column {name!r} is {column['type']}: it takes no fractions")
    return values.astype(NUMPY_TYPES[datatype])


def _text(value: object, column: ColumnSpec, row: int) -> str:
    if not is_missing(value):
        return str(value)
    null = column.get("null")
    if null is None:
        raise InputError(f"column {column['name']!r}: row {row} has no value, the model needs one")
    return null
