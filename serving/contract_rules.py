"""One column's rules against one tensor: which values break which, and in what words.

Limits and categories are rounded to the tensor's own type, as values were when they were decoded,
so that a value equal to its limit is within it: 0.1 sent as FP32 is not above the maximum 0.1.
"""

import math
from typing import Any, Final, Literal

import msgspec
import numpy as np

from protocol.configuration import ColumnRule
from serving.tensors import FLOATS, Array, TensorSpec, show

RuleName = Literal["nulls", "minimum", "maximum", "categories"]
RULES: Final[tuple[RuleName, ...]] = ("nulls", "minimum", "maximum", "categories")
"""In the order in which they are told."""
SHOWN_CATEGORIES: Final = 8
_TRUTH: Final = {"true": 1, "false": 0}
_BF16_SHIFT: Final = 16
_BF16_HALF: Final = 0x7FFF
_BF16_KEPT: Final = 0xFFFF0000


class Breach(msgspec.Struct, frozen=True):
    """Values that break one rule of one column."""

    column: str
    rule: RuleName
    count: int
    row: int
    """The first row of them, counted from 0."""
    words: str
    """What is wrong in that row."""


class Place(msgspec.Struct, frozen=True):
    """Where in a request a column is."""

    what: str
    """What the request calls it: ``column 'age'``."""
    input: int
    """Position of the input."""
    index: int | None
    """In the input's last dimension; None: the whole of it."""
    null: str | None
    """How a text column spells a missing value."""
    spec: TensorSpec


class Column:
    """A rule at its place."""

    def __init__(self, rule: ColumnRule, place: Place) -> None:
        """Raises ``ValueError`` for a rule that its input cannot have."""
        spec = place.spec
        if place.index is not None and not _has(spec, place.index):
            raise ValueError(f"{place.what} lies beyond the shape of its input")
        self.place = place
        self.rule = rule
        self.is_text = spec.datatype == "BYTES"
        self.is_float = is_float(spec)
        if self.is_text and (rule.minimum is not None or rule.maximum is not None):
            raise ValueError(f"{place.what} is text, which has no minimum or maximum")
        self.low: Any
        self.high: Any
        self.low, self.high = (None, None) if self.is_text else limits(rule, spec)
        self._allowed = None if rule.categories is None else _elements(rule.categories, spec)
        if self._allowed is not None and rule.nulls and place.null is not None:
            self._allowed |= {place.null}

    @property
    def looks_at_each(self) -> bool:
        """Whether values have to be looked up one by one: :meth:`holds` does."""
        missing = self.is_text and not self.rule.nulls and self.place.null is not None
        return self._allowed is not None or missing

    def holds(self, feed: Array) -> bool:
        """Whether every value is among the categories, and no text is missing that must not be.

        In few steps where all is well. Limits, and NaN, are looked at for whole tensors at once.
        """
        if self._lacks(feed):
            return False
        values = self._values(feed).reshape(-1).tolist()
        if self.is_text and not self.rule.nulls and self.place.null in values:
            return False
        return self._allowed is None or self._allowed.issuperset(values)

    def breaches(self, feed: Array | None) -> list[Breach]:
        """What breaks the column's rules, a breach a rule; None is an optional input that was left
        out."""
        if feed is None or self._lacks(feed):
            return [] if self.rule.nulls else [self._breach("nulls", 1, 0, "it is missing")]
        values = self._values(feed)
        found = []
        for rule in RULES:
            broken = self._broken(rule, values)
            if broken is None or not (count := int(np.count_nonzero(broken))):
                continue
            first = int(np.argmax(broken))
            words = self._words(rule, values.reshape(-1)[first])
            found.append(self._breach(rule, count, first // values.shape[1], words))
        return found

    def _breach(self, rule: RuleName, count: int, row: int, words: str) -> Breach:
        return Breach(self.rule.column, rule, count, row, f"{self.place.what}: {words}")

    def _lacks(self, feed: Array) -> bool:
        """Whether a dimension of any size is too small to hold the column."""
        index = self.place.index
        return index is not None and index >= feed.shape[-1]

    def _values(self, feed: Array) -> Array:
        """The column's values in a tensor: a row for each of its rows."""
        index = self.place.index
        array = comparable(feed if index is None else feed[..., index], self.place.spec)
        rows = array.shape[0] if array.ndim else 1
        return array.reshape(rows, array.size // max(rows, 1))

    def _broken(self, rule: RuleName, values: Array) -> Array | None:
        """Which values break the rule; None where there is none of that name."""
        given = self.rule
        if rule == "minimum":
            return None if given.minimum is None else np.less(values, self.low)
        if rule == "maximum":
            return None if given.maximum is None else np.greater(values, self.high)
        if rule == "nulls":
            return None if given.nulls else self._missing(values)
        if self._allowed is None:
            return None
        flat = values.reshape(-1).tolist()
        known = np.fromiter((value in self._allowed for value in flat), np.bool_, len(flat))
        strange: Array = ~(known.reshape(values.shape) | self._missing(values))
        return strange

    def _missing(self, values: Array) -> Array:
        """Which values are missing: NaN, or the column's spelling of it."""
        if self.is_float:
            return np.isnan(values)
        if self.is_text and self.place.null is not None:
            return np.equal(values, self.place.null).astype(np.bool_)
        return np.zeros(values.shape, np.bool_)

    def _words(self, rule: RuleName, value: object) -> str:
        if rule == "nulls":
            return "it is missing"
        if self.place.spec.datatype == "BOOL":
            said = "true" if value else "false"
        else:
            said = show(value) if isinstance(value, str) else _number(value)
        if rule == "minimum":
            return f"{said} is below the minimum {_number(self.rule.minimum)}"
        if rule == "maximum":
            return f"{said} is above the maximum {_number(self.rule.maximum)}"
        categories = self.rule.categories or ()
        shown = ", ".join(show(one) for one in categories[:SHOWN_CATEGORIES])
        more = len(categories) - SHOWN_CATEGORIES
        return f"{said} is none of {shown}" + (f" and {more} others" if more > 0 else "")


def _has(spec: TensorSpec, index: int) -> bool:
    return bool(spec.shape) and (spec.shape[-1] < 0 or index < spec.shape[-1])


def is_float(spec: TensorSpec) -> bool:
    """Whether the tensor's type has NaN."""
    return spec.datatype in FLOATS or spec.datatype == "BF16"


def comparable(feed: Array, spec: TensorSpec) -> Array:
    """A tensor as numbers that compare as they should: BF16 travels as bits, truth is 0 or 1."""
    if spec.datatype == "BF16":
        widened: Array = (feed.astype(np.uint32) << _BF16_SHIFT).view(np.float32)
        return widened
    return feed.astype(np.uint8) if spec.datatype == "BOOL" else feed


def limits(rule: ColumnRule, spec: TensorSpec) -> tuple[Any, Any]:
    """The lowest and the highest number that the rule allows: of the tensor's own float type, or
    integers. What it leaves open is the type's own bound."""
    if is_float(spec):
        low = -math.inf if rule.minimum is None else rule.minimum
        high = math.inf if rule.maximum is None else rule.maximum
        return _rounded(low, spec), _rounded(high, spec)
    kind = np.uint8 if spec.datatype == "BOOL" else spec.dtype
    # Python's integers: they may lie beyond the type, which numpy compares rightly.
    low = int(np.iinfo(kind).min) if rule.minimum is None else math.ceil(rule.minimum)
    high = int(np.iinfo(kind).max) if rule.maximum is None else math.floor(rule.maximum)
    return low, high


def _rounded(value: float, spec: TensorSpec) -> np.floating[Any]:
    """``value`` as decoding would have rounded it."""
    with np.errstate(over="ignore"):
        if spec.datatype != "BF16":
            rounded: np.floating[Any] = spec.dtype.type(value)
            return rounded
        single = np.float32(value)
        if not np.isfinite(single):
            return single
        bits = int(single.view(np.uint32))
        even = (bits >> _BF16_SHIFT) & 1
        return np.uint32((bits + _BF16_HALF + even) & _BF16_KEPT).view(np.float32)


def _elements(categories: tuple[str, ...], spec: TensorSpec) -> frozenset[object]:
    """The categories as the tensor's elements; one that its type cannot spell is none of them."""
    if spec.datatype == "BYTES":
        return frozenset(categories)
    found: set[object] = set()
    for category in categories:
        text = category.strip().lower()
        try:
            if text in _TRUTH:
                found.add(_TRUTH[text])
            elif is_float(spec):
                found.add(_rounded(float(text), spec).item())
            else:
                found.add(_integer(text))
        except (ValueError, OverflowError):
            continue
    return frozenset(found)


def _integer(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)  # 3.0 is the integer 3 to Python's sets


def _number(value: object) -> str:
    """A number in the fewest digits that tell it from others of its type: ``151``, ``0.1``."""
    return str(value).removesuffix(".0")
