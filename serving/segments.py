"""Which rows of a request are in which segment: conditions on the columns of the model's inputs."""

from collections.abc import Mapping, Sequence
from typing import Final, cast

import numpy as np

from protocol.manifest import Column
from protocol.segments import COMPARE, Condition, Term, parse_condition
from serving.signature import Signature
from serving.tensors import Array

_NUMBERS: Final = "fiu"


class Segments:
    """Conditions by name, for the requests of one model version."""

    def __init__(self, conditions: Mapping[str, Condition], columns: "Columns") -> None:
        self._conditions = conditions
        self._columns = columns

    @classmethod
    def parse(cls, texts: Mapping[str, str], columns: "Columns") -> "Segments":
        """Raises ``INVALID`` for a text that is no condition."""
        return cls({name: parse_condition(text) for name, text in texts.items()}, columns)

    def __bool__(self) -> bool:
        return bool(self._conditions)

    def masks(self, feeds: Sequence[Array | None], rows: int) -> dict[str, Array]:
        """Name -> whether each row is in the segment; segments without any row are left out."""
        found: dict[str, Array] = {}
        for name, condition in self._conditions.items():
            inside = np.ones(rows, np.bool_)
            for term in condition.terms:
                inside &= self._columns.holds(term, feeds, rows)
            if inside.any():
                found[name] = inside
        return found


class Columns:
    """The columns of a model's inputs. A graph without columns has those inputs as columns that
    hold one value a row."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._columns = {column.name: column for column in signature.manifest.columns}

    @property
    def names(self) -> list[str]:
        """Every column, in the manifest's order."""
        return list(self._columns or self._signature.position)

    def has_values(self, feeds: Sequence[Array | None], rows: int) -> bool:
        """Whether a request has a value for any of them."""
        return any(self.values(name, feeds, rows) is not None for name in self.names)

    def values(self, name: str, feeds: Sequence[Array | None], rows: int) -> Array | None:
        """A value a row; None where the request has no such column."""
        column = self._columns.get(name)
        position = self._signature.position.get(name if column is None else column.input)
        if position is None or (column is None and self._columns):
            return None
        feed = feeds[position]
        if feed is None or not rows or not feed.ndim or feed.shape[0] != rows:
            return None
        flat = feed.reshape(rows, -1)
        place = 0 if column is None or column.index is None else column.index
        if column is None and flat.shape[1] != 1:
            return None
        return flat[:, place] if place < flat.shape[1] else None

    def value(self, name: str, feeds: Sequence[Array | None], rows: int, row: int) -> object:
        """One row's value as a Python object; None where it is missing."""
        found = self.values(name, feeds, rows)
        if found is None:
            return None
        value = _item(found, row)
        return None if self._is_null(self._columns.get(name), value) else value

    def holds(self, term: Term, feeds: Sequence[Array | None], rows: int) -> Array:
        """Whether each row satisfies ``term``."""
        values = self.values(term.column, feeds, rows)
        if values is None:
            return np.zeros(rows, np.bool_)
        if isinstance(term.value, float) and values.dtype.kind in _NUMBERS:
            inside = cast("Array", COMPARE[term.operator](values, term.value))
            return inside & ~np.isnan(values) if values.dtype.kind == "f" else inside
        column = self._columns.get(term.column)
        return np.array(
            [
                term.holds(None if self._is_null(column, value) else value)
                for value in values.tolist()
            ],
            np.bool_,
        )

    @staticmethod
    def _is_null(column: Column | None, value: object) -> bool:
        return column is not None and column.null is not None and value == column.null


def _item(values: Array, row: int) -> object:
    found: object = values[row : row + 1].tolist()[0]
    return None if isinstance(found, float) and not np.isfinite(found) else found
