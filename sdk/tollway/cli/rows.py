"""Rows from files: for parity (data frames), and for predictions (typed by the model's columns)."""

import csv
import importlib
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from tollway import errors

if TYPE_CHECKING:
    from tollway.conversion import ColumnSpec

_TRUE, _FALSE = {"true", "1", "yes"}, {"false", "0", "no"}


def read_frame(file: Path, target: str | None, model: object) -> tuple[object, object]:
    """Rows and, with ``target``, answers, in the form that ``model`` was trained on."""
    if not file.is_file():
        raise FileNotFoundError(2, "there is no such file", str(file))
    if file.suffix == ".npy":
        if target is not None:
            raise errors.InvalidRequestError(f"{file} has no named columns, so no --target")
        return np.load(file, allow_pickle=False), None
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        raise errors.InvalidRequestError(
            f"reading {file} needs pandas: install it, or give rows as .npy"
        ) from None
    readers = {".csv": pandas.read_csv, ".parquet": pandas.read_parquet}
    if file.suffix not in readers:
        raise errors.InvalidRequestError(f"{file}: --data takes .csv, .parquet and .npy")
    try:
        frame = readers[file.suffix](file)
    except (ValueError, ImportError) as error:
        raise errors.InvalidRequestError(f"{file} cannot be read: {error}") from error
    y = None
    if target is not None:
        if target not in frame.columns:
            raise errors.InvalidRequestError(f"{file} has no column {target!r}")
        y = frame.pop(target)
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        missing = [name for name in names if name not in frame.columns]
        if missing:
            raise errors.InvalidRequestError(
                f"{file} lacks the column {missing[0]!r} that the model was trained on"
            )
        return frame[list(names)], y
    # Trained without names: named columns would be refused or warned about. A text model takes
    # the one column itself, and a graph its columns by their names.
    if isinstance(model, Path):
        return frame, y
    return (frame.iloc[:, 0] if _takes_text(model, frame.shape[1]) else frame.to_numpy()), y


def _takes_text(model: object, columns: int) -> bool:
    steps = getattr(model, "steps", None)
    first = steps[0][1] if steps else model
    return columns == 1 and hasattr(first, "build_analyzer")


def read_rows(source: str, columns: "Sequence[ColumnSpec]") -> list[object]:
    """Rows of a JSON or CSV file, or of stdin (``-``), with the types that the columns have."""
    if source == "-":
        text, csv_named = sys.stdin.read(), False
    else:
        file = Path(source)
        text, csv_named = file.read_text(encoding="utf-8-sig"), file.suffix.lower() == ".csv"
    if not csv_named and text.lstrip()[:1] in ("[", "{"):
        rows = _json_rows(text)
    else:
        rows = _csv_rows(text, columns)
    if not rows:
        raise errors.InvalidRequestError(f"there are no rows in {_named(source)}")
    return rows


def _json_rows(text: str) -> list[object]:
    """A list of rows, one row as an object, JSON lines, or a V1 body with ``instances``."""
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        try:
            found = [msgspec.json.decode(line) for line in text.splitlines() if line.strip()]
        except msgspec.DecodeError:
            raise errors.InvalidRequestError(f"the rows are not JSON: {error}") from error
    if isinstance(found, dict):
        instances = found.get("instances")
        return instances if isinstance(instances, list) else [found]
    if not isinstance(found, list):
        raise errors.InvalidRequestError("the rows are not a JSON list")
    if found and not isinstance(found[0], list | dict | str):
        return [found]  # one row, written without its outer brackets
    return found


def _csv_rows(text: str, columns: "Sequence[ColumnSpec]") -> list[object]:
    lines = [line for line in csv.reader(io.StringIO(text)) if line]
    if not lines:
        return []
    header = [cell.strip() for cell in lines[0]]
    types = {column["name"]: str(column["type"]) for column in columns}
    if types and set(types) <= set(header):
        return [
            {
                name: _value(cell, types[name], f"line {at}, column {name!r}")
                for name, cell in _cells(header, line, at)
                if name in types
            }
            for at, line in enumerate(lines[1:], start=2)
        ]
    start = 0 if _all_numbers(header) or _all_strings(types) else 1
    kinds = list(types.values()) or ["float"] * len(header)
    return [
        [
            _value(cell, kind, f"line {at}, column {place}")
            for place, (kind, cell) in enumerate(_cells(kinds, line, at), start=1)
        ]
        for at, line in enumerate(lines[start:], start=start + 1)
    ]


def _cells(names: Sequence[str], line: Sequence[str], at: int) -> Iterable[tuple[str, str]]:
    if len(line) != len(names):
        raise errors.InvalidRequestError(
            f"line {at} has {len(line)} values, but {len(names)} columns are expected"
        )
    return zip(names, line, strict=True)


def _value(cell: str, type: str, place: str) -> object:
    """A cell as its column's type; an empty one is a missing value."""
    if cell == "":
        return None
    if type == "string":
        return cell
    text = cell.strip()
    try:
        if type == "integer":
            return int(text)
        if type == "boolean":
            if text.lower() in _TRUE | _FALSE:
                return text.lower() in _TRUE
            raise ValueError(text)
        return float(text)
    except ValueError:
        raise errors.InvalidRequestError(f"{place}: {cell!r} is not of type {type}") from None


def _all_numbers(cells: Iterable[str]) -> bool:
    try:
        return all(float(cell) is not None for cell in cells)
    except ValueError:
        return False


def _all_strings(types: dict[str, str]) -> bool:
    return bool(types) and set(types.values()) == {"string"}


def _named(source: str) -> str:
    return "stdin" if source == "-" else source
