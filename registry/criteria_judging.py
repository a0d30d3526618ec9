"""Whether success criteria are met, and by how much they are missed.

What cannot be told is neither met nor failed: a misspelt metric must not pass, nor look like a bad
model.
"""

import math
from collections.abc import Mapping
from itertools import chain
from typing import Literal

import msgspec

from protocol.segments import COMPARE
from registry.criteria import (
    Absolute,
    Arithmetic,
    Beats,
    Comparison,
    Criterion,
    Expression,
    Measure,
    Negative,
    Number,
)
from registry.measures import Found, Subject, Untold, find, smaller_is_better

Outcome = Literal["met", "failed", "unknown"]


class JudgedPart(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison of a criterion."""

    text: str
    outcome: Outcome
    detail: str
    """In words: what it is, what it should be, by how much it is missed, or why it is unknown."""
    value: float | None = None
    bound: float | None = None
    """What ``value`` is compared with."""
    short_by: float | None = None
    """How far ``value`` is from what would do; None unless it failed."""
    evidence: tuple[str, ...] = ()
    """Digests of the evaluations that were looked in."""
    rows: tuple[str, ...] = ()
    """Their names of the rows."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A criterion, whether it is met, and each of its comparisons."""

    text: str
    outcome: Outcome
    parts: tuple[JudgedPart, ...]

    @property
    def detail(self) -> str:
        """The comparisons that are not met, in words."""
        return "; ".join(part.detail for part in self.parts if part.outcome != "met")


class Judge:
    """Judges criteria of one version, against the version that is stable now."""

    def __init__(
        self, subject: Subject, stable: Subject | None, segments: Mapping[str, str]
    ) -> None:
        """``stable`` is None when there is none; ``segments``: name -> condition. Their evidence is
        read only as far as criteria ask for it."""
        self._subject = subject
        self._stable = stable
        self._segments = segments

    def judge(self, criterion: Criterion) -> Judged:
        """Whether the version meets the criterion."""
        parts = tuple(self._part(part) for part in criterion.parts)
        outcomes = {part.outcome for part in parts}
        outcome: Outcome = (
            "failed" if "failed" in outcomes else "unknown" if "unknown" in outcomes else "met"
        )
        return Judged(text=str(criterion), outcome=outcome, parts=parts)

    def _part(self, part: Comparison | Beats) -> JudgedPart:
        try:
            return self._beats(part) if isinstance(part, Beats) else self._comparison(part)
        except Untold as untold:
            return JudgedPart(text=str(part), outcome="unknown", detail=f"{part}: {untold}")

    def _comparison(self, part: Comparison) -> JudgedPart:
        used: list[Found] = []
        value = self._value(part.left, used)
        bound = self._value(part.right, used)
        met = bool(COMPARE[part.operator](value, bound))
        short = abs(bound - value)
        said = f"{part}: {part.left} is {_shown(value)}"
        if not isinstance(part.right, Number):
            said += f" and {part.right} is {_shown(bound)}"
        return _judged(part, met, said, value, bound, short, used)

    def _beats(self, part: Beats) -> JudgedPart:
        down = smaller_is_better(part.measure)
        stable = self._stable
        if stable is None or stable.number == self._subject.number:
            why = "no version is stable" if stable is None else "this version is the stable one"
            return JudgedPart(text=str(part), outcome="met", detail=f"{part}: {why}")
        named = msgspec.structs.replace(part.measure, rows=part.rows)
        own = find(named, self._subject, self._segments)
        theirs = stable.evaluations()
        if own.evaluation is not None:
            same = own.evaluation.rows_digest
            theirs = (one for one in theirs if one.rows_digest == same)
            newest = next(theirs, None)
            if newest is None:
                raise Untold(
                    f"the stable version {stable.number} was not evaluated on the same rows "
                    f"{part.rows!r}: evaluate it on them too"
                )
            theirs = chain([newest], theirs)
        other = find(part.measure, stable, self._segments, theirs)
        gain = other.value - own.value if down else own.value - other.value
        said = (
            f"{part}: {part.measure} is {_shown(own.value)}, of the stable version "
            f"{stable.number} {_shown(other.value)}"
        )
        used = [own, other]
        short = part.margin - gain
        bound = other.value - part.margin if down else other.value + part.margin
        return _judged(part, gain > part.margin, said, own.value, bound, short, used)

    def _value(self, expression: Expression, used: list[Found]) -> float:
        match expression:
            case Number():
                return expression.value
            case Measure():
                found = find(expression, self._subject, self._segments)
                used.append(found)
                return found.value
            case Negative():
                return -self._value(expression.of, used)
            case Absolute():
                return abs(self._value(expression.of, used))
            case Arithmetic():
                left = self._value(expression.left, used)
                right = self._value(expression.right, used)
                return _computed(expression, left, right)


def _computed(expression: Arithmetic, left: float, right: float) -> float:
    match expression.sign:
        case "+":
            found = left + right
        case "-":
            found = left - right
        case "*":
            found = left * right
        case "/":
            if right == 0:
                raise Untold(f"{expression.right} is 0, by which nothing is divided")
            found = left / right
    if not math.isfinite(found):
        raise Untold(f"{expression} is beyond what numbers hold")
    return found


def _judged(
    part: Comparison | Beats,
    met: bool,
    said: str,
    value: float,
    bound: float,
    short: float,
    used: list[Found],
) -> JudgedPart:
    sources = [one.evaluation for one in used if one.evaluation is not None]
    return JudgedPart(
        text=str(part),
        outcome="met" if met else "failed",
        detail=said if met else f"{said}: short by {_shown(short)}",
        value=value,
        bound=bound,
        short_by=None if met else short,
        evidence=tuple(dict.fromkeys(one.digest for one in sources)),
        rows=tuple(dict.fromkeys(one.rows_name for one in sources)),
    )


def _shown(value: float) -> str:
    return f"{value:.6g}"
