"""Rows of training or request data in whatever form they came, seen as named, typed columns."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tollway.conversion.columns import Columns
from tollway.conversion.errors import ConversionError
from tollway.conversion.foreign import Foreign, Frame
from tollway.conversion.types import ColumnType

Kind = Literal["matrix", "columns", "text"]
Array = npt.NDArray[Any]


def is_pandas(X: object) -> bool:
    """Whether ``X`` is a pandas DataFrame (without importing pandas)."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(X, pandas.DataFrame)


def is_polars(X: object) -> bool:
    """Whether ``X`` is a polars DataFrame (without importing polars)."""
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(X, polars.DataFrame)


def has_names(X: object) -> bool:
    """Whether ``X`` has columns by name: a data frame, or :class:`Columns`."""
    return is_pandas(X) or is_polars(X) or isinstance(X, Columns)


def is_missing(value: object) -> bool:
    """None, NaN, NaT and ``pandas.NA`` alike."""
    if value is None:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    pandas = sys.modules.get("pandas")
    return pandas is not None and (value is pandas.NA or value is pandas.NaT)


def plain_column(values: object) -> Array:
    """A column as float64, int64, bool or an object array of str (None where missing).

    Numbers and booleans with missing values become float64 with NaN.
    """
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return array.astype(np.float64, copy=False)
    if array.dtype.kind in "iu":
        return array.astype(np.int64, copy=False)
    if array.dtype.kind == "b":
        return array
    items = array.tolist()
    known = [item for item in items if not is_missing(item)]
    if known and all(isinstance(item, bool) for item in known) and len(known) == len(items):
        return np.asarray(items, dtype=bool)
    if not known or all(
        isinstance(item, (int, float)) and not isinstance(item, bool) for item in known
    ):
        whole = known and len(known) == len(items) and all(isinstance(i, int) for i in known)
        if whole:
            return np.asarray(items, dtype=np.int64)
        return np.asarray([np.nan if is_missing(i) else i for i in items], dtype=np.float64)
    out = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        out[i] = None if is_missing(item) else str(item)
    return out


def column_type(column: Array) -> ColumnType:
    """The schema's type of a plain column."""
    kinds: dict[str, ColumnType] = {"f": "float", "i": "integer", "b": "boolean"}
    return kinds.get(column.dtype.kind, "string")


@dataclass(frozen=True)
class Rows:
    """Rows as the estimator takes them (``native``), with their columns at hand.

    ``matrix``: a numeric 2-D array or a frame of numbers only; ``columns``: a frame or array with
    strings or booleans; ``text``: one string per row, for text pipelines.
    """

    native: Any
    kind: Kind
    names: tuple[str, ...]
    columns: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    @property
    def framed(self) -> bool:
        """Whether the columns came with names."""
        return is_pandas(self.native) or is_polars(self.native)

    def take(self, positions: npt.NDArray[np.int64] | list[int]) -> "Rows":
        """The rows at ``positions``, repeats allowed."""
        index = np.asarray(positions, dtype=np.int64)
        if is_pandas(self.native):
            native = self.native.iloc[index].reset_index(drop=True)
        else:
            native = self.native[index]
        columns = tuple(column[index] for column in self.columns)
        return Rows(native, self.kind, self.names, columns)

    def replaced(self, column: int, values: Sequence[object]) -> "Rows":
        """The same rows with other values in one column (one value per row)."""
        native = _replace(self.native, self.kind, column, self.names, values)
        return rows_of(native, like=self)

    def with_cells(self, cells: Sequence[tuple[int, int, object]]) -> "Rows":
        """The same rows with single cells changed: ``(row, column, value)`` each."""
        changed = self
        for column in sorted({column for _, column, _ in cells}):
            values = changed.native_values(column)
            for row, at, value in cells:
                if at == column:
                    values[row] = value
            changed = changed.replaced(column, values)
        return changed

    def native_values(self, column: int) -> list[object]:
        """A column's values as the estimator gets them."""
        if is_pandas(self.native):
            return list(self.native.iloc[:, column].tolist())
        if is_polars(self.native):
            return list(self.native[:, column].to_list())
        if self.kind == "text":
            return list(self.native.tolist())
        return list(self.native[:, column].tolist())

    def row(self, position: int) -> dict[str, object]:
        """One row by column name, as plain Python values."""
        return {
            name: column[position : position + 1].tolist()[0]
            for name, column in zip(self.names, self.columns, strict=True)
        }


def _replace(
    native: Frame, kind: Kind, column: int, names: tuple[str, ...], values: Sequence[object]
) -> Foreign:
    if kind == "text":
        return np.asarray(values, dtype=object)
    if is_pandas(native):
        frame = native.copy()
        name = frame.columns[column]
        old = frame[name]
        pandas = sys.modules["pandas"]
        new = pandas.Series(list(values), index=frame.index, dtype=object)
        if str(old.dtype) == "category":
            known = set(old.cat.categories) | {None}
            fits = all(is_missing(v) or v in known for v in values)
            frame[name] = new.astype(old.dtype) if fits else new
        else:
            try:
                frame[name] = new.astype(old.dtype)
            except (
                TypeError,
                ValueError,
                OverflowError,
            ):  # for example NaN in a column of integers
                frame[name] = new.infer_objects()
        return frame
    if is_polars(native):
        polars = sys.modules["polars"]
        dtype = native.dtypes[column]
        return native.with_columns(
            polars.Series(names[column], list(values), dtype=dtype, strict=False)
        )
    changed = native.copy()
    changed[:, column] = values
    return changed


def frame_column(frame: Frame, name: object) -> Array:
    """One column of what has names (:func:`has_names`) as a plain column."""
    series = frame[name]
    if isinstance(frame, Columns):
        return plain_column(series)
    if not is_pandas(frame):
        return plain_column(series.to_numpy())
    if series.dtype.kind not in "iufb":
        return plain_column(series.astype(object).to_numpy())
    if series.isna().any():
        return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
    return plain_column(series.to_numpy())


def _frame_columns(X: Frame) -> tuple[tuple[str, ...], tuple[Array, ...]]:
    names = tuple(str(name) for name in X.columns)
    if len(set(names)) != len(names):
        raise ConversionError("the frame has two columns of one name; rename one of them")
    return names, tuple(frame_column(X, name) for name in X.columns)


def _as_array(X: object) -> Array:
    if isinstance(X, Mapping):
        raise ConversionError("rows as a mapping are not supported: give a DataFrame")
    if hasattr(X, "toarray"):
        return np.asarray(X.toarray())
    array = np.asarray(X)
    if array.dtype.kind in "US" or (array.dtype.kind == "O" and array.ndim == 1):
        array = array.astype(object)
    return array


def rows_of(X: object, like: Rows | None = None) -> Rows:
    """Understand ``X``: numpy or sparse array, DataFrame (pandas, polars), list of rows or texts.

    With ``like``, the kind and names are taken over from there.
    """
    if is_pandas(X) or is_polars(X):
        names, columns = _frame_columns(X)
        numeric = all(column.dtype.kind in "fi" for column in columns)
        kind: Kind = "matrix" if numeric else "columns"
        return Rows(X, like.kind if like else kind, names, columns)
    array = _as_array(X)
    if array.ndim == 1:
        if array.dtype != object or not all(isinstance(v, str) for v in array.tolist()):
            raise ConversionError(
                f"X has shape {array.shape}: give rows and columns (2-D), or one string per row"
            )
        return Rows(array, "text", ("text",), (plain_column(array),))
    if array.ndim != 2 or array.shape[1] == 0:  # noqa: PLR2004
        raise ConversionError(f"X has shape {array.shape}: give rows and columns (2-D)")
    names = like.names if like else tuple(f"x{i}" for i in range(array.shape[1]))
    columns = tuple(plain_column(array[:, i]) for i in range(array.shape[1]))
    numeric = array.dtype.kind in "fiub"
    return Rows(array, like.kind if like else ("matrix" if numeric else "columns"), names, columns)
