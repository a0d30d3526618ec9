"""The example row that a publisher gives with a model, as values of its columns."""

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from tollway.conversion.rows import has_names, is_missing, rows_of
from tollway.conversion.types import ColumnSpec, ColumnType, Label
from tollway.errors import InvalidRequestError

_EXACT: Final = 2**53 - 1
"""Whole numbers up to here are exact in JSON and in a double."""


def with_example(columns: Sequence[ColumnSpec], row: object) -> list[ColumnSpec]:
    """``columns``, each with its value of ``row`` as the example that callers are shown.

    ``row``: a mapping by column, the values in the order of the columns (a list, tuple or array),
    a pandas Series, or a frame or 2-D array of one row; of a text model also the text itself. A
    missing value (None, NaN) is no example. Raises :class:`InvalidRequestError` for what is no row
    of these columns.
    """
    if not columns:
        raise _refused("the columns are not known: give the rows X beside a graph")
    names = [column["name"] for column in columns]
    cells = _cells(row, names)
    if unknown := [name for name in cells if name not in names]:
        raise _refused(f"there is no column {unknown[0][:80]!r}")
    if lacking := [name for name in names if name not in cells]:
        raise _refused(
            f"column {lacking[0][:80]!r} is not in the row; write None for a missing value"
        )
    described = []
    for column in columns:
        value = cells[column["name"]]
        if is_missing(value):
            described.append(column)
        else:
            found = _value(column["name"], value, column["type"])
            described.append(ColumnSpec(**{**column, "example": found}))
    return described


def _cells(row: object, names: Sequence[str]) -> dict[str, object]:
    if has_names(row):
        rows = rows_of(row)
        if len(rows) != 1:
            raise _refused(f"give one row, not {len(rows)}")
        return rows.row(0)
    for plain in ("to_dict", "tolist"):  # a pandas Series; a numpy array
        if hasattr(row, plain):
            row = getattr(row, plain)()
            break
    if isinstance(row, str):
        row = [row]
    if isinstance(row, Sequence) and len(row) == 1 and isinstance(row[0], list | tuple | Mapping):
        row = row[0]
    if isinstance(row, Mapping):
        return {str(name): value for name, value in row.items()}
    if not isinstance(row, Sequence):
        raise _refused(f"{type(row).__name__} is no row: give a mapping by column, or a list")
    if len(row) != len(names):
        raise _refused(f"the row has {len(row)} values, and there are {len(names)} columns")
    return dict(zip(names, row, strict=True))


def _value(name: str, value: object, kind: ColumnType) -> Label:
    """The value as the column's type; scalars of numpy as Python's."""
    if hasattr(value, "item"):
        value = value.item()
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "boolean" and isinstance(value, bool):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if kind == "float" and abs(value) <= sys.float_info.max:
            return float(value)
        if kind == "integer" and abs(value) <= _EXACT and value == int(value):
            return int(value)
    raise _refused(f"column {name[:80]!r} takes {kind}, not {str(value)[:80]!r}")


def _refused(why: str) -> InvalidRequestError:
    return InvalidRequestError(f"example: {why}")
