"""The rows of an evaluation as named columns, whatever form they came in, and their digest."""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tollway.errors import InvalidRequestError

Array = npt.NDArray[Any]


class Table:
    """Columns by name: float64, int64, bool, or objects that are str or None.

    Of a frame or of dicts these are all columns, also those that the model does not take; of an
    array those of the model by position.
    """

    def __init__(self, X: object, names: Sequence[str]) -> None:
        """``names``: the model's own columns, for rows without names."""
        from tollway.conversion.rows import has_names  # noqa: PLC0415 -- light

        self._columns: dict[str, Array]
        if has_names(X):
            self._columns = _of_frame(X)
        elif isinstance(X, Mapping):
            self._columns = _of_tensors(X)
        elif _are_dicts(X):
            self._columns = _of_dicts(X)  # type: ignore[arg-type]  # a sequence of mappings
        else:
            self._columns = _of_array(X, names)
        self.rows = len(next(iter(self._columns.values()), ()))

    @property
    def names(self) -> list[str]:
        """The columns, in their order."""
        return list(self._columns)

    def column(self, name: str) -> Array:
        """A column. InvalidRequestError when there is none of that name."""
        if name not in self._columns:
            known = ", ".join(repr(one) for one in self.names[:20])
            raise InvalidRequestError(f"the rows have no column {name!r}; they have {known}")
        return self._columns[name]

    def digest(self, truth: Array) -> str:
        """``sha256:`` over columns and truth: the same rows, in the same order, have the same one,
        in whatever form they are given. Numbers count as float64, missing values are all alike."""
        sha = hashlib.sha256(b"tollway.rows/1\n")
        for name, values in [*self._columns.items(), ("", truth)]:
            text = name.encode()
            sha.update(struct.pack("<I", len(text)) + text)
            _add(sha, values)
        return "sha256:" + sha.hexdigest()


def truth_column(y: object) -> Array:
    """The truth as a plain column. InvalidRequestError where a row's is missing."""
    from tollway.conversion.rows import plain_column  # noqa: PLC0415

    array = np.asarray(y)
    if array.ndim > 1 and array.size == len(array):
        array = array.reshape(-1)
    if array.ndim != 1:
        raise InvalidRequestError(f"y has shape {array.shape}; it has one value a row")
    values = plain_column(array)
    missing = (
        np.array([value is None for value in values.tolist()])
        if values.dtype.kind == "O"
        else np.isnan(values)
    )
    if missing.any():
        raise InvalidRequestError(f"y[{int(np.argmax(missing))}] is missing")
    return values


def _add(sha: "hashlib._Hash", values: Array) -> None:
    if values.dtype.kind != "O":
        numbers = values.astype("<f8")
        numbers[np.isnan(numbers)] = np.nan  # one bit pattern of the many
        numbers += 0.0  # no negative zero
        sha.update(b"n" + numbers.tobytes())
        return
    sha.update(b"t")
    for value in values.tolist():
        if value is None:
            sha.update(b"\xff\xff\xff\xff")
        else:
            data = value.encode("utf-8", "surrogatepass")
            sha.update(struct.pack("<I", len(data)) + data)


def _are_dicts(X: object) -> bool:
    return isinstance(X, list | tuple) and bool(X) and all(isinstance(row, Mapping) for row in X)


def _of_frame(frame: Any) -> dict[str, Array]:  # noqa: ANN401 -- whatever has names
    from tollway.conversion.rows import frame_column  # noqa: PLC0415

    return {str(name): frame_column(frame, name) for name in frame.columns}


def _of_tensors(tensors: Mapping[str, object]) -> dict[str, Array]:
    from tollway.conversion.rows import plain_column  # noqa: PLC0415

    found: dict[str, Array] = {}
    for name, given in tensors.items():
        array = np.asarray(given)
        flat = array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
        for index in range(flat.shape[1]):
            key = str(name) if flat.shape[1] == 1 else f"{name}[{index}]"
            found[key] = plain_column(flat[:, index])
    return found


def _of_dicts(rows: Sequence[Mapping[str, object]]) -> dict[str, Array]:
    from tollway.conversion.rows import plain_column  # noqa: PLC0415

    names = dict.fromkeys(name for row in rows for name in row)
    found = {}
    for name in names:
        cells = np.empty(len(rows), dtype=object)
        cells[:] = [row.get(name) for row in rows]
        found[str(name)] = plain_column(cells)
    return found


def _of_array(X: object, names: Sequence[str]) -> dict[str, Array]:
    from tollway.conversion.rows import plain_column  # noqa: PLC0415

    dense = X.toarray() if hasattr(X, "toarray") else X
    try:
        array = np.asarray(dense)
    except ValueError as error:
        raise InvalidRequestError("the rows of X have different lengths") from error
    if array.dtype.kind in "US":
        array = np.asarray(dense, dtype=object)
    flat = array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
    width = flat.shape[1]
    known = list(names) if len(names) == width else [f"x{index}" for index in range(width)]
    return {name: plain_column(flat[:, index]) for index, name in enumerate(known)}
