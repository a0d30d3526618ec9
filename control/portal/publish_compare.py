"""Two versions side by side. Pure.

The interval of a difference is made of the intervals of both values (Zou and Donner, 2008): it
holds for values that were measured apart. On the same rows the two move together, so that it is
wider than it has to be: what it calls a difference is one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from control.portal.publish_drawings import Drawn, common_axis, direction, draw
from control.portal.publish_evidence import evidence_of
from protocol.evidence import Evidence, Measured
from registry.approval_bodies import CriterionOutput, GateOutput
from registry.evidence_inputs import EvidenceOutput

MAX_ROWS: Final = 100


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A measure of both versions; ``value`` is that of the second less that of the first."""

    name: str
    first: Drawn | None
    second: Drawn | None
    value: float | None
    low: float | None
    high: float | None
    verdict: str
    """``better`` or ``worse`` where the whole interval says so; else empty."""


class CriterionPair(msgspec.Struct, frozen=True, kw_only=True):
    """A criterion for both."""

    text: str
    first: CriterionOutput | None
    second: CriterionOutput | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What the evaluations of both say; empty where one has none."""

    first: Evidence | None
    second: Evidence | None
    same_rows: bool
    metrics: list[Difference]
    segments: list[Difference]
    importance: list[Difference]
    latency: list[Difference]


def matching(
    first: Sequence[EvidenceOutput], second: Sequence[EvidenceOutput]
) -> tuple[Evidence | None, Evidence | None]:
    """The newest evaluations that were made on the same rows, else the newest of each; both lists
    have the newest first."""
    ours, theirs = [evidence_of(one) for one in first], [evidence_of(one) for one in second]
    for one in theirs:
        for other in ours:
            if one.rows_digest == other.rows_digest:
                return other, one
    return next(iter(ours), None), next(iter(theirs), None)


def compare(first: Evidence | None, second: Evidence | None) -> Comparison:
    """Both evaluations, measure by measure; the main metric of the second comes first."""
    if first is None or second is None:
        return Comparison(
            first=first, second=second, same_rows=False, metrics=[], segments=[], importance=[],
            latency=[],
        )  # fmt: skip
    main = second.main_metric
    return Comparison(
        first=first,
        second=second,
        same_rows=first.rows_digest == second.rows_digest,
        metrics=differences(first.metrics, second.metrics, main),
        segments=_segments(first, second, main),
        importance=differences(_importance(first), _importance(second), ""),
        latency=_latency(first, second),
    )


def differences(
    first: Mapping[str, Measured], second: Mapping[str, Measured], main: str
) -> list[Difference]:
    """Every measure that one of them has, ``main`` first."""
    names = sorted({*first, *second}, key=lambda name: (name != main, name))[:MAX_ROWS]
    return [_difference(name, name, first.get(name), second.get(name)) for name in names]


def difference_interval(
    first: Measured, second: Measured
) -> tuple[float, float | None, float | None]:
    """``second - first`` with its interval; without one where a value has none."""
    value = second.value - first.value
    if None in (first.low, first.high, second.low, second.high):
        return value, None, None
    assert first.low is not None
    assert first.high is not None
    assert second.low is not None
    assert second.high is not None
    below = math.hypot(second.value - second.low, first.high - first.value)
    above = math.hypot(second.high - second.value, first.value - first.low)
    return value, value - below, value + above


def criteria(first: GateOutput, second: GateOutput) -> list[CriterionPair]:
    """The present criteria, as each version meets them."""
    ours = {one.criterion: one for one in first.criteria}
    theirs = {one.criterion: one for one in second.criteria}
    return [
        CriterionPair(text=text, first=ours.get(text), second=theirs.get(text))
        for text in dict.fromkeys([*theirs, *ours])
    ]


def _difference(
    name: str, metric: str, first: Measured | None, second: Measured | None
) -> Difference:
    there = [one for one in (first, second) if one is not None]
    axis = common_axis(there, metric)
    value = low = high = None
    if first is not None and second is not None:
        value, low, high = difference_interval(first, second)
    return Difference(
        name=name,
        first=None if first is None else draw(name, first, axis),
        second=None if second is None else draw(name, second, axis),
        value=value,
        low=low,
        high=high,
        verdict=_verdict(metric, low, high),
    )


def _verdict(metric: str, low: float | None, high: float | None) -> str:
    smaller = direction(metric)
    if smaller is None or low is None or high is None or low <= 0 <= high:
        return ""
    return "better" if (high < 0) == smaller else "worse"


def _segments(first: Evidence, second: Evidence, main: str) -> list[Difference]:
    ours = {one.segment: one.metrics.get(main) for one in first.segments}
    theirs = {one.segment: one.metrics.get(main) for one in second.segments}
    names = list(dict.fromkeys([*theirs, *ours]))[:MAX_ROWS]
    return [_difference(name, main, ours.get(name), theirs.get(name)) for name in names]


def _importance(evidence: Evidence) -> dict[str, Measured]:
    return {
        one.column: Measured(
            value=one.mean, low=one.mean - one.deviation, high=one.mean + one.deviation
        )
        for one in evidence.importance
    }


def _latency(first: Evidence, second: Evidence) -> list[Difference]:
    if first.latency is None or second.latency is None:
        return []
    pairs = (
        ("p50_ms", first.latency.p50_ms, second.latency.p50_ms),
        ("p99_ms", first.latency.p99_ms, second.latency.p99_ms),
    )
    return [
        _difference(name, name, Measured(value=one), Measured(value=other))
        for name, one, other in pairs
    ]
