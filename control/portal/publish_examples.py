"""The example row that a publisher gives beside a graph, as values of its columns. Pure."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from typing import Final

from protocol.errors import Code, TollwayError
from protocol.manifest import ColumnType

Value = int | float | str | bool
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_SEPARATORS: Final = ",;\t"
_EXACT: Final = 2**53 - 1


def example_of(text: str, columns: Mapping[str, ColumnType]) -> dict[str, Value]:
    """The first row of what was given: JSON (an object by column, a list in their order, a list of
    these, or a body with ``instances``), or CSV with or without a line of names.

    A column without a value, or with an empty one, has no example. Raises ``INVALID`` for what is
    no row of these columns.
    """
    if not text.strip():
        return {}
    if not columns:
        raise _refused("name the columns first: the row is theirs")
    names = list(columns)
    row = _json_row(text, names) if text.lstrip()[0] in "{[" else _csv_row(text, names)
    for name in row:
        if name not in columns:
            raise _refused(f"there is no column {name[:80]!r}")
    return {
        name: _value(name, value, columns[name])
        for name, value in row.items()
        if value is not None and value != ""
    }


def _json_row(text: str, names: list[str]) -> dict[str, object]:
    try:
        given: object = json.loads(text)
    except (ValueError, RecursionError):
        raise _refused("is neither JSON nor CSV") from None
    if isinstance(given, dict) and "instances" in given and "instances" not in names:
        given = given["instances"]
    if isinstance(given, list) and given and isinstance(given[0], list | dict):
        given = given[0]
    if isinstance(given, dict):
        return {str(name): value for name, value in given.items()}
    if isinstance(given, list):
        return _by_place(given, names)
    raise _refused("is no row: write an object by column, or a list")


def _csv_row(text: str, names: list[str]) -> dict[str, object]:
    try:
        given = text.strip(" \r\n").splitlines()[:2]
        lines = csv.reader(
            given, delimiter=_separator(given[0], names), strict=True, skipinitialspace=True
        )
        rows = [[cell.strip() for cell in line] for line in lines]
    except csv.Error as error:
        raise _refused(f"is neither JSON nor CSV: {error}") from None
    if set(rows[0]) & set(names) and len(rows) > 1:
        return dict(zip(rows[0], _as_long(rows[1], rows[0]), strict=True))
    return _by_place(rows[0], names)


def _separator(line: str, names: list[str]) -> str:
    """Of the marks that part values in files that are evaluated, the one that makes of the first
    line as many values as there are columns, else the most frequent one."""

    def values(mark: str) -> int:
        return len(next(csv.reader([line], delimiter=mark, skipinitialspace=True), []))

    fitting = [mark for mark in _SEPARATORS if values(mark) == len(names)]
    return fitting[0] if fitting else max(_SEPARATORS, key=line.count)


def _by_place(values: Sequence[object], names: list[str]) -> dict[str, object]:
    return dict(zip(names, _as_long(values, names), strict=True))


def _as_long(values: Sequence[object], names: Sequence[str]) -> Sequence[object]:
    if len(values) != len(names):
        raise _refused(f"the row has {len(values)} values, and there are {len(names)} columns")
    return values


def _value(name: str, value: object, kind: ColumnType) -> Value:
    """The value as the column's type; texts are read as CSV has them."""
    found: Value | None = None
    if kind == "string":
        found = value if isinstance(value, str) else None
    elif kind == "boolean":
        found = value if isinstance(value, bool) else _FLAGS.get(str(value).lower())
    elif not isinstance(value, bool) and isinstance(value, int | float | str):
        found = _number(value)
        if kind == "integer" and found is not None:
            found = int(found) if found == int(found) and abs(found) <= _EXACT else None
    if found is None:
        raise _refused(f"column {name[:80]!r} takes {kind}, not {str(value)[:80]!r}")
    return found


def _number(value: float | str) -> float | None:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _refused(why: str) -> TollwayError:
    return TollwayError(Code.INVALID, f"example: {why}")
