"""Success criteria: what must be true of a version, as expressions over its evidence.

    criterion  = comparison {"and" comparison}
    comparison = sum operator sum | "beats" "(" "stable" "," measure "," rows ["," margin] ")"
    sum        = product {("+" | "-") product}
    product    = factor {("*" | "/") factor}
    factor     = number | measure | "-" factor | "(" sum ")" | "abs" "(" sum ")"
    measure    = name ["[" selector {"," selector} "]"]
    selector   = "segment" "=" (condition | name) | "rows" "=" name | "class" "=" name

``name`` is a metric (``accuracy``), one end of its confidence interval (``accuracy.low``), or one
of what manifest and latency say (``size_mb``, ``parity.max_abs_error``, ``p99_ms``). A condition is
one of :mod:`protocol.segments`; a bare name instead is a segment that the requirements define.
Reading runs nothing; what a criterion means is in :mod:`registry.criteria_judging`.
"""

import re
from collections.abc import Callable
from typing import Final, Literal, cast

import msgspec

from protocol.expressions import OPERATORS, Reader, number_text, quoted_text
from protocol.segments import WORD, Condition, Operator, read_condition

Bound = Literal["", "low", "high"]
Sign = Literal["+", "-", "*", "/"]

MAX_LENGTH: Final = 1000
"""Characters of one criterion."""
MAX_DEPTH: Final = 20
MAX_OPERATIONS: Final = 50

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_SIGNS: Final = (*OPERATORS, "=", "+", "-", "*", "/", "(", ")", "[", "]", ",")
_RANK: Final[dict[str, int]] = {"+": 1, "-": 1, "*": 2, "/": 2}
_RESERVED: Final = frozenset({"and", "abs", "beats"})
_NO_NUMBERS: Final = frozenset({"nan", "inf", "infinity"})
"""What looks like a number and is none that anything could be compared with, in any case."""


class Number(msgspec.Struct, frozen=True):
    """A constant."""

    value: float

    def __str__(self) -> str:
        return number_text(self.value)


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """A value that evidence or the manifest has."""

    name: str
    bound: Bound = ""
    """An end of the value's confidence interval, instead of the value."""
    segment: Condition | str | None = None
    """Over the rows that satisfy it; text: the name of a segment."""
    rows: str | None = None
    """In the newest evaluation on rows of this name; None: in the newest that has it."""
    label: str | None = None
    """Of this class against the others."""

    def __str__(self) -> str:
        selectors = []
        if self.segment is not None:
            named = isinstance(self.segment, str)
            selectors.append(f"segment={_word(str(self.segment)) if named else self.segment}")
        if self.rows is not None:
            selectors.append(f"rows={_word(self.rows)}")
        if self.label is not None:
            selectors.append(f"class={_word(self.label)}")
        chosen = f"[{', '.join(selectors)}]" if selectors else ""
        return self.name + (f".{self.bound}" if self.bound else "") + chosen


class Negative(msgspec.Struct, frozen=True):
    """The value with the other sign."""

    of: "Expression"

    def __str__(self) -> str:
        inner = f"({self.of})" if isinstance(self.of, Arithmetic) else str(self.of)
        return f"-{inner}"


class Absolute(msgspec.Struct, frozen=True):
    """The value without its sign."""

    of: "Expression"

    def __str__(self) -> str:
        return f"abs({self.of})"


class Arithmetic(msgspec.Struct, frozen=True):
    """Two values in one."""

    sign: Sign
    left: "Expression"
    right: "Expression"

    def __str__(self) -> str:
        rank = _RANK[self.sign]
        left = f"({self.left})" if _rank(self.left) < rank else str(self.left)
        right = f"({self.right})" if _rank(self.right) <= rank else str(self.right)
        return f"{left} {self.sign} {right}"


Expression = Number | Measure | Negative | Absolute | Arithmetic


class Comparison(msgspec.Struct, frozen=True):
    """Two values and how they must compare."""

    left: Expression
    operator: Operator
    right: Expression

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


class Beats(msgspec.Struct, frozen=True):
    """Better than the version that is stable now, by more than ``margin``, on the same rows."""

    measure: Measure
    rows: str
    margin: float = 0.0

    def __str__(self) -> str:
        margin = f", {number_text(self.margin)}" if self.margin else ""
        return f"beats(stable, {self.measure}, {_word(self.rows)}{margin})"


class Criterion(msgspec.Struct, frozen=True):
    """Everything that must hold."""

    parts: tuple[Comparison | Beats, ...]

    def __str__(self) -> str:
        """The canonical text; :func:`parse_criterion` reads it as this criterion."""
        return " and ".join(map(str, self.parts))

    def measures(self) -> list[Measure]:
        """Every value that it asks for."""
        found: list[Measure] = []
        for part in self.parts:
            if isinstance(part, Beats):
                found.append(part.measure)
            else:
                found += [*_measures(part.left), *_measures(part.right)]
        return found


def parse_criterion(text: str) -> Criterion:
    """The criterion that ``text`` says. Raises ``INVALID`` with the character it is about."""
    reader = Reader(text, what="criterion", name=_NAME, signs=_SIGNS, longest=MAX_LENGTH)
    return _Parser(reader).criterion()


class _Parser:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._depth = 0
        self._operations = 0

    def criterion(self) -> Criterion:
        parts = [self._part()]
        while self._reader.accept("and"):
            self._count()
            parts.append(self._part())
        if self._reader.token.kind != "end":
            raise self._reader.error(f"expected 'and' or the end{self._reader.instead()}")
        return Criterion(tuple(parts))

    def _part(self) -> Comparison | Beats:
        start = self._reader.token.position
        if self._reader.accept("beats"):
            return self._beats()
        left = self._sum()
        compare = cast("Operator", self._reader.operator().text)
        right = self._sum()
        if not [*_measures(left), *_measures(right)]:
            raise self._reader.error("this compares no metric", start)
        return Comparison(left, compare, right)

    def _beats(self) -> Beats:
        reader = self._reader
        reader.expect("(")
        reader.expect("stable")
        reader.expect(",")
        start = reader.token.position
        measure = self._measure()
        if measure.rows is not None:
            raise reader.error("name the rows after the metric, not in it", start)
        reader.use(WORD)
        reader.expect(",")
        rows = self._word("the name of the rows")
        reader.use(_NAME)
        margin = 0.0
        if reader.accept(","):
            sign = reader.accept("-", "+")
            if reader.token.kind != "number":
                raise reader.error(f"expected a number{reader.instead()}")
            margin = reader.step().number
            margin = (-margin if sign and sign.text == "-" else margin) + 0.0
        reader.expect(")")
        return Beats(measure, rows, margin)

    def _sum(self) -> Expression:
        found = self._product()
        while sign := self._reader.accept("+", "-"):
            self._count()
            found = Arithmetic(cast("Sign", sign.text), found, self._product())
        return found

    def _product(self) -> Expression:
        found = self._factor()
        while sign := self._reader.accept("*", "/"):
            self._count()
            found = Arithmetic(cast("Sign", sign.text), found, self._factor())
        return found

    def _factor(self) -> Expression:
        reader = self._reader
        if reader.accept("-"):
            of = self._inner(self._factor)
            return Number(0.0 - of.value) if isinstance(of, Number) else Negative(of)
        if reader.accept("("):
            return self._closed()
        if reader.accept("abs"):
            reader.expect("(")
            return Absolute(self._closed())
        if reader.token.kind == "number":
            return Number(reader.step().number)
        return self._measure()

    def _closed(self) -> Expression:
        found = self._inner(self._sum)
        self._reader.expect(")")
        return found

    def _inner(self, read: Callable[[], Expression]) -> Expression:
        if self._depth == MAX_DEPTH:
            raise self._reader.error(f"nested more than {MAX_DEPTH} deep")
        self._depth += 1
        found = read()
        self._depth -= 1
        return found

    def _count(self) -> None:
        self._operations += 1
        if self._operations > MAX_OPERATIONS:
            raise self._reader.error(f"a criterion has at most {MAX_OPERATIONS} operations")

    def _measure(self) -> Measure:
        reader = self._reader
        if reader.token.kind != "name" or reader.token.text in _RESERVED:
            raise reader.error(f"expected a metric or a number{reader.instead()}")
        if reader.token.text.lower() in _NO_NUMBERS:
            raise reader.error(
                f"{reader.token.text!r} is no metric, and numbers are finite: compare with one"
            )
        name, _, bound = reader.step().text.rpartition(".")
        if not name or bound not in {"low", "high"}:
            name, bound = f"{name}.{bound}".lstrip("."), ""
        selectors: dict[str, Condition | str] = {}
        if reader.accept("["):
            self._select(selectors)
            while reader.accept(","):
                self._select(selectors)
            reader.expect("]")
        return Measure(
            name=name,
            bound=cast("Bound", bound),
            segment=selectors.get("segment"),
            rows=cast("str | None", selectors.get("rows")),
            label=cast("str | None", selectors.get("class")),
        )

    def _select(self, selectors: dict[str, Condition | str]) -> None:
        reader = self._reader
        kind = reader.token.text
        if reader.token.kind != "name" or kind not in {"segment", "rows", "class"}:
            raise reader.error(f"expected segment, rows or class{reader.instead()}")
        if kind in selectors:
            raise reader.error(f"{kind} is chosen twice")
        reader.step()
        reader.use(WORD)
        reader.expect("=")
        if kind == "segment":
            selectors[kind] = self._segment()
        else:
            selectors[kind] = self._word(f"the name of the {kind}")
        reader.use(_NAME)

    def _segment(self) -> Condition | str:
        """A condition, or a word that nothing is compared with: the name of a segment."""
        reader = self._reader
        first = reader.token
        if first.kind == "name" and first.text != "and":
            reader.step()
            if reader.token.text in {"]", ","}:
                return first.text
            reader.back(first)
        return read_condition(reader)

    def _word(self, what: str) -> str:
        token = self._reader.token
        if token.kind not in {"name", "text"} or not token.text:
            raise self._reader.error(f"expected {what}{self._reader.instead()}")
        return self._reader.step().text


def _measures(expression: Expression) -> list[Measure]:
    match expression:
        case Measure():
            return [expression]
        case Negative() | Absolute():
            return _measures(expression.of)
        case Arithmetic():
            return [*_measures(expression.left), *_measures(expression.right)]
        case Number():
            return []


def _rank(expression: Expression) -> int:
    return _RANK[expression.sign] if isinstance(expression, Arithmetic) else len(_RANK)


def _word(text: str) -> str:
    return text if WORD.fullmatch(text) else quoted_text(text)
