"""Rows with their truth out of a CSV file (RFC 4180), in the types that the model's columns have.

A value that is no number where the model takes numbers is an error that names its line, and text
stays as it is written: the code ``007`` is not 7. Columns that the model does not take, which
segments may speak of, are numbers where all of their values are.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tollway.conversion.columns import Columns
from tollway.errors import InvalidRequestError
from tollway.signatures import Signature

Array = npt.NDArray[Any]
File = str | os.PathLike[str] | IO[bytes]

BLOCK_ROWS: Final = 10_000
"""Rows that are text and values at once."""
SHOWN: Final = 60
_MISSING: Final = frozenset({"", "na", "n/a", "nan", "null", "none"})
_TRUE: Final = frozenset({"true", "yes", "1"})
_FALSE: Final = frozenset({"false", "no", "0"})
_INT64: Final = 2**63
_SEPARATORS: Final = ",;\t"
_WORDS: Final = {"float": "a number", "integer": "a whole number", "boolean": "true or false"}


class _Column(NamedTuple):
    name: str
    kind: str
    """Of the model's column; empty: it is found out."""
    place: int
    parts: list[Array]
    """What was read, a block each."""
    cells: list[str]
    """What was read of a column whose kind is found out."""


def read_csv(
    file: File, signature: Signature, target: str, max_rows: int | None = None
) -> tuple[Columns, Array]:
    """The rows, and their truth, which is in the column ``target``.

    Values are separated by commas, semicolons or tabs; the first line has the columns' names, in
    any order. Raises InvalidRequestError for what cannot be read, ``about`` which of the two.
    """
    if isinstance(file, str | os.PathLike):
        with Path(file).open("rb") as opened:
            return read_csv(opened, signature, target, max_rows)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        return _read(text, signature, target, max_rows)
    except UnicodeDecodeError:
        raise _refused(f"the file is not UTF-8 text: {_where(file)}") from None
    finally:
        text.detach()  # the file is the caller's


def _read(
    text: io.TextIOWrapper, signature: Signature, target: str, max_rows: int | None
) -> tuple[Columns, Array]:
    lines = _lines(text)
    _, names = next(lines, (0, []))
    header = [name.strip() for name in names]
    if not any(header):
        raise _refused("there is no line with the names of the columns")
    if target not in header:
        known = ", ".join(repr(name) for name in header[:20] if name)
        raise InvalidRequestError(
            f"the rows have no column {target!r}; they have {known}"
        ).regarding("target")
    columns = _columns(header, signature, target)
    truth = next(one for one in columns if one.name == target)
    rows = 0
    for numbers, block in _blocks(lines, len(header)):
        rows += len(block)
        if max_rows is not None and rows > max_rows:
            raise _refused(f"there are more than {max_rows:,} rows")
        for column in columns:
            cells = [row[column.place] for row in block]
            if column is truth:
                _check_known(cells, numbers, column)
            if column.kind:
                column.parts.append(_block(cells, numbers, column))
            else:
                column.cells.extend(cells)
    if not rows:
        raise _refused("there are no rows below the names of the columns")
    found = {one.name: _whole(one) for one in columns}
    y = found.pop(target)
    return Columns(found), y


def _lines(text: io.TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
    """Number and values of each line that is not empty."""
    number = 0
    try:
        head = text.readline()
        separator = max(_SEPARATORS, key=head.count) if head else ","
        reader = csv.reader(chain([head], text), delimiter=separator, strict=True)
        for row in reader:
            number = reader.line_num
            if row:
                yield number, row
    except csv.Error as error:
        raise _refused(f"line {number + 1} is no line of CSV: {error}") from None


def _where(file: IO[bytes]) -> str:
    """The line of the first bytes that are no UTF-8. Text is decoded far ahead of what is read of
    it, so that the file is looked through again; of one that cannot be, less is said."""
    if file.seekable():
        file.seek(0)
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f"line {number} has the byte 0x{line[error.start]:02x}. Save it as UTF-8"
    return "save it as UTF-8"


def _blocks(
    lines: Iterator[tuple[int, list[str]]], width: int
) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Some rows at a time, with the numbers of their lines."""
    numbers: list[int] = []
    block: list[list[str]] = []
    for number, row in lines:
        if len(row) != width:
            raise _refused(f"line {number} has {len(row)} values, and the first line has {width}")
        numbers.append(number)
        block.append(row)
        if len(block) == BLOCK_ROWS:
            yield numbers, block
            numbers, block = [], []
    if block:
        yield numbers, block


def _columns(header: Sequence[str], signature: Signature, target: str) -> list[_Column]:
    """The file's columns. One without a name, as an index is written, is left out."""
    named = [name for name in header if name]
    twice = next((name for name, times in Counter(named).items() if times > 1), None)
    if twice is not None:
        raise _refused(f"two columns are called {twice!r}")
    kinds = {str(one["name"]): str(one["type"]) for one in signature.columns}
    if target in kinds:
        raise InvalidRequestError(
            f"the truth cannot be in {target!r}: the model takes that column"
        ).regarding("target")
    given = [name for name in named if name != target]
    absent = [name for name in kinds if name not in given]
    if absent:
        by_place = list(kinds) == [f"x{place}" for place in range(len(kinds))]
        if not by_place or len(given) != len(kinds):
            also = f", and lack {len(absent) - 1} more" if len(absent) > 1 else ""
            raise _refused(f"the rows have no column {absent[0]!r}, which the model takes{also}")
        kinds = dict(zip(given, kinds.values(), strict=True))
    kinds[target] = _kind_of_truth(signature)
    return [
        _Column(name, kinds.get(name, ""), place, [], [])
        for place, name in enumerate(header)
        if name
    ]


def _kind_of_truth(signature: Signature) -> str:
    if signature.task == "regression":
        return "float"
    labels = signature.labels
    if labels and all(isinstance(label, str) for label in labels):
        return "string"
    if labels and not any(isinstance(label, str | bool) for label in labels):
        return "float"
    return "boolean" if labels and all(isinstance(label, bool) for label in labels) else ""


def _check_known(cells: Sequence[str], numbers: Sequence[int], truth: _Column) -> None:
    missing = {""} if truth.kind == "string" else _MISSING
    for cell, number in zip(cells, numbers, strict=True):
        if cell.strip().lower() in missing:
            raise _refused(f"line {number}, column {truth.name!r} is empty: each row has its truth")


def _block(cells: Sequence[str], numbers: Sequence[int], column: _Column) -> Array:
    read = _READERS[column.kind]
    try:
        values = [read(cell) for cell in cells]
    except ValueError:
        raise _unreadable(cells, numbers, column) from None
    return _array(values, column.kind)


def _unreadable(
    cells: Sequence[str], numbers: Sequence[int], column: _Column
) -> InvalidRequestError:
    """The first value that cannot be read, and where it is."""
    read = _READERS[column.kind]
    for cell, number in zip(cells, numbers, strict=True):
        try:
            read(cell)
        except ValueError:
            shown = cell if len(cell) <= SHOWN else cell[:SHOWN] + "…"
            return _refused(
                f"line {number}, column {column.name!r}: {shown!r} is not {_WORDS[column.kind]}"
            )
    return _refused(f"column {column.name!r} cannot be read")


def _array(values: list[Any], kind: str) -> Array:
    """A plain column, see :func:`tollway.conversion.rows.plain_column`."""
    if kind == "string":
        found = np.empty(len(values), dtype=object)
        found[:] = values
        return found
    if kind == "float" or any(value is None for value in values):
        return np.array([np.nan if value is None else value for value in values], np.float64)
    return np.array(values, np.int64 if kind == "integer" else np.bool_)


def _whole(column: _Column) -> Array:
    if column.kind:
        return np.concatenate(column.parts)
    for kind in ("integer", "float", "boolean"):
        read = _READERS[kind] if kind != "boolean" else _word_of_truth
        try:
            return _array([read(cell) for cell in column.cells], kind)
        except ValueError:
            continue
    return _array([_text(cell) for cell in column.cells], "string")


def _text(cell: str) -> str | None:
    return cell or None


def _float(cell: str) -> float | None:
    text = cell.strip()
    if text.lower() in _MISSING:
        return None
    if "_" in text:  # Python's way to write numbers, not that of files
        raise ValueError(text)
    return float(text)


def _integer(cell: str) -> int | None:
    text = cell.strip()
    try:
        value = int(text) if "_" not in text else None
    except ValueError:
        value = None
    if value is None:
        number = _float(cell)
        if number is None:
            return None
        if not number.is_integer():
            raise ValueError(text)
        value = int(number)
    if not -_INT64 <= value < _INT64:
        raise ValueError(text)
    return value


def _boolean(cell: str) -> bool | None:
    text = cell.strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if text in _MISSING:
        return None
    raise ValueError(text)


def _word_of_truth(cell: str) -> bool | None:
    """Of a column that nobody says is true or false: by these words alone."""
    text = cell.strip().lower()
    if text in ("true", "false", ""):
        return text == "true" if text else None
    raise ValueError(text)


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "float": _float,
    "integer": _integer,
    "boolean": _boolean,
    "string": _text,
}


def _refused(problem: str) -> InvalidRequestError:
    return InvalidRequestError(problem).regarding("rows")
