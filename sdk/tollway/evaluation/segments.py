"""Segments of rows: conditions such as ``age<30 and region==north``, columns, or masks.

The language, and the text that a condition is known by, are those of the server's criteria: what is
measured here as ``age < 30`` is what ``recall[segment=age<30]`` means.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tollway.errors import InvalidRequestError
from tollway.evaluation.rows import Table

Mask = npt.NDArray[np.bool_]
Segments = Sequence[str] | Mapping[str, object] | None

MAX_TERMS = 16
MAX_LENGTH = 500
MAX_VALUES = 50
"""Distinct values that a column may have to be taken as segments."""
_EXACT = 2**53
_TOKEN = re.compile(
    r"""[ \t]*(?:
    (?P<number>[+-]?[ \t]*(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![\w.])
    |(?P<word>[^\W\d][\w.\-]*)
    |"(?P<double>(?:[^"\\]|\\[\\"'])*)"
    |'(?P<single>(?:[^'\\]|\\[\\"'])*)'
    |(?P<sign><=|>=|==|!=|<|>)
    )""",
    re.VERBOSE,
)
_WORD = re.compile(r"[^\W\d][\w.\-]*")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class Term(NamedTuple):
    """One comparison of a column with a constant."""

    column: str
    operator: str
    value: float | str

    def __str__(self) -> str:
        value = _word(self.value) if isinstance(self.value, str) else _number(self.value)
        return f"{_word(self.column)}{self.operator}{value}"

    def mask(self, values: npt.NDArray[Any]) -> Mask:
        """Which values satisfy it: missing ones, and those of another kind, do not."""
        compare = _COMPARE[self.operator]
        if isinstance(self.value, str):
            if values.dtype.kind == "b":
                values = np.where(values, "true", "false").astype(object)
            if values.dtype.kind != "O":
                return np.zeros(len(values), np.bool_)
            found = [v is not None and compare(v, self.value) for v in values.tolist()]
            return np.array(found, np.bool_)
        if values.dtype.kind == "O":
            return np.zeros(len(values), np.bool_)
        return np.asarray(compare(values, self.value) & ~np.isnan(values), np.bool_)


def parse(text: str) -> tuple[Term, ...]:
    """The terms of a condition, each once, in the order of their text. InvalidRequestError names
    the character that is not understood."""
    if len(text) > MAX_LENGTH:
        raise InvalidRequestError(f"a segment has at most {MAX_LENGTH} characters")
    at = 0
    terms: set[Term] = set()
    while True:
        column, at = _operand(text, at, "the name of a column", numbers=False)
        sign, at = _next(text, at, "one of < <= > >= == !=", "sign")
        value, at = _operand(text, at, "a number or text", numbers=True)
        terms.add(Term(str(column), sign, value))
        if len(terms) > MAX_TERMS:
            raise _error(text, at, f"a segment has at most {MAX_TERMS} comparisons")
        if not text[at:].strip(" \t"):
            return tuple(sorted(terms, key=str))
        word, after = _next(text, at, "'and' or the end", "word")
        if word != "and":
            raise _error(text, at, "expected 'and' or the end")
        at = after


def canonical(terms: Sequence[Term]) -> str:
    """The text that conditions which say the same are known by."""
    return " and ".join(str(term) for term in terms)


def masks(segments: Segments, table: Table) -> dict[str, Mask]:
    """Segment -> its rows, in the order given.

    An element is a condition, or the name of a column, each of whose values is a segment then. A
    mapping gives names to conditions and to boolean masks.
    """
    found: dict[str, Mask] = {}
    if segments is None:
        return found
    if isinstance(segments, str):
        segments = [segments]
    if isinstance(segments, Mapping):
        for name, given in segments.items():
            if isinstance(given, str):
                found[str(name)] = _condition(parse(given), table)
            else:
                found[str(name)] = _given(str(name), given, table.rows)
        return found
    for text in segments:
        if text in table.names:
            found.update(_values(text, table))
        else:
            terms = parse(text)
            found[canonical(terms)] = _condition(terms, table)
    return found


def _given(name: str, given: object, rows: int) -> Mask:
    mask = np.asarray(given)
    if mask.shape != (rows,) or mask.dtype != np.bool_:
        raise InvalidRequestError(
            f"segment {name!r} is neither a condition nor a boolean mask of {rows} rows"
        )
    return mask


def _condition(terms: Sequence[Term], table: Table) -> Mask:
    mask = np.ones(table.rows, np.bool_)
    for term in terms:
        mask &= term.mask(table.column(term.column))
    return mask


def _values(column: str, table: Table) -> dict[str, Mask]:
    values = table.column(column)
    if values.dtype.kind == "b":
        known: list[Any] = ["false", "true"]
    elif values.dtype.kind == "O":
        known = sorted({value for value in values.tolist() if value is not None})
    else:
        known = [float(value) for value in np.unique(values[~np.isnan(values)])]
    if len(known) > MAX_VALUES:
        raise InvalidRequestError(
            f"column {column!r} has {len(known)} values, too many for segments: give conditions,"
            f" such as '{_word(column)}<{known[len(known) // 2]}'"
        )
    terms = [Term(column, "==", value) for value in known]
    found = {str(term): term.mask(values) for term in terms}
    return {name: mask for name, mask in found.items() if mask.any()}


def _operand(text: str, at: int, wanted: str, *, numbers: bool) -> tuple[float | str, int]:
    match = _TOKEN.match(text, at)
    if match is not None:
        group = match.lastgroup
        if group == "number" and numbers:
            return float(re.sub(r"[ \t]", "", match["number"])) + 0.0, match.end()
        if group in {"double", "single"}:
            said = re.sub(r"\\(.)", r"\1", match[group])
            if said or numbers:
                return said, match.end()
        if group == "word" and match["word"] != "and":
            return match["word"], match.end()
    raise _error(text, at, f"expected {wanted}")


def _next(text: str, at: int, wanted: str, group: str) -> tuple[str, int]:
    match = _TOKEN.match(text, at)
    if match is None or match.lastgroup != group:
        raise _error(text, at, f"expected {wanted}")
    return match[group], match.end()


def _error(text: str, at: int, problem: str) -> InvalidRequestError:
    at = len(text) - len(text[at:].lstrip(" \t"))
    return InvalidRequestError(f"segment {text!r}, character {at + 1}: {problem}")


def _word(text: str) -> str:
    if _WORD.fullmatch(text) and text != "and":
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)
