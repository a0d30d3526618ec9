"""Conditions on the columns of a row: ``age<30``, ``region==north and income >= 20000``.

    condition = term {"and" term}
    term      = column operator value
    column    = bare word | quoted text
    operator  = < | <= | > | >= | == | !=
    value     = number | bare word | quoted text

A bare word begins with a letter or ``_`` and goes on with letters, digits, ``_``, ``.`` and ``-``;
anything else (a column called ``sepal length (cm)``, the text ``2024``) stands in single or double
quotes. A term holds for a value of its own kind only: a number for numbers, text for text (by code
points), ``true`` and ``false`` for truth values, which are also 1 and 0 to numbers. So a missing
value, an absent column and a value of another kind satisfy no term, ``!=`` included.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Final, Literal, cast

import msgspec

from protocol.expressions import OPERATORS, Reader, number_text, quoted_text

Operator = Literal["<", "<=", ">", ">=", "==", "!="]

MAX_LENGTH: Final = 500
"""Characters of one condition."""
MAX_TERMS: Final = 16

COMPARE: Final[dict[Operator, Callable[..., bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
"""What each operator does; of arrays, element by element."""

WORD: Final = re.compile(r"[^\W\d][\w.\-]*")
_SIGNS = (*OPERATORS, "=", "-", "+")


class Term(msgspec.Struct, frozen=True, gc=False):
    """One comparison of a column with a constant."""

    column: str
    operator: Operator
    value: float | str

    def __str__(self) -> str:
        return f"{_word(self.column)}{self.operator}{_value(self.value)}"

    def holds(self, value: object) -> bool:
        """Whether a row with this value (a Python one) in the column satisfies the term."""
        if isinstance(self.value, str):
            if isinstance(value, bool):
                value = "true" if value else "false"
            elif isinstance(value, bytes):
                value = value.decode(errors="replace")
            return isinstance(value, str) and COMPARE[self.operator](value, self.value)
        # NaN is the missing number; it alone differs from itself.
        missing = not isinstance(value, int | float) or value != value  # noqa: PLR0124
        return not missing and COMPARE[self.operator](value, self.value)


class Condition(msgspec.Struct, frozen=True, gc=False):
    """Terms that all have to hold, each once, in the order of their text: conditions that say the
    same have the same text."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        """The canonical text; :func:`parse_condition` reads it as this condition."""
        return " and ".join(str(term) for term in self.terms)

    @property
    def columns(self) -> frozenset[str]:
        """The columns that it asks for."""
        return frozenset(term.column for term in self.terms)

    def holds(self, row: Mapping[str, object]) -> bool:
        """Whether a row, column -> value, satisfies every term."""
        return all(term.holds(row.get(term.column)) for term in self.terms)


def parse_condition(text: str) -> Condition:
    """The condition that ``text`` says. Raises ``INVALID`` with the character it is about."""
    reader = Reader(text, what="condition", name=WORD, signs=_SIGNS, longest=MAX_LENGTH)
    found = read_condition(reader)
    if reader.token.kind != "end":
        raise reader.error(f"expected 'and' or the end{reader.instead()}")
    return found


def read_condition(reader: Reader) -> Condition:
    """The condition that begins at the reader's present token; stops at what is none of it."""
    terms = [_term(reader)]
    while reader.accept("and"):
        if len(terms) == MAX_TERMS:
            raise reader.error(f"a condition has at most {MAX_TERMS} comparisons")
        terms.append(_term(reader))
    return Condition(tuple(sorted(set(terms), key=str)))


def _term(reader: Reader) -> Term:
    start = reader.token.position
    column = _said(reader, "the name of a column")
    if not column:
        raise reader.error("a column has a name", start)
    compare = cast("Operator", reader.operator().text)
    sign = reader.accept("-", "+")
    if reader.token.kind == "number":
        value = reader.step().number
        # Adding 0 makes -0 the 0 that it compares equal to.
        return Term(column, compare, (-value if sign and sign.text == "-" else value) + 0.0)
    if sign is not None:
        raise reader.error(f"expected a number{reader.instead()}")
    return Term(column, compare, _said(reader, "a number or text"))


def _said(reader: Reader, what: str) -> str:
    """What the present token says, a bare word or a quoted text, and step."""
    token = reader.token
    if token.kind == "text" or (token.kind == "name" and token.text != "and"):
        return reader.step().text
    raise reader.error(f"expected {what}{reader.instead()}")


def _word(text: str) -> str:
    return text if WORD.fullmatch(text) and text != "and" else quoted_text(text)


def _value(value: float | str) -> str:
    return _word(value) if isinstance(value, str) else number_text(value)
