"""How the evidence about a canary came about: e-values over the requests that it has answered,
thinned so that a run of any length keeps its shape in a bounded number of points. Pure."""

from typing import Final

import msgspec

from control.rollouts.evidence import Verdict
from control.rollouts.progress import Progress, TracePoint

MAX_POINTS: Final = 128
"""Points that are kept."""
_PARTS: Final = 100
"""A point is kept where it is at least such a part of all requests away from the one before."""
_DIGITS: Final = 5


def traced(progress: Progress, verdict: Verdict) -> Progress:
    """The progress with what was found of it now as the last point.

    The last point always is the present; the greatest e-value between two kept points survives,
    so that a peak which almost took the canary back stays visible.
    """
    now = TracePoint(
        requests=progress.taken.canary.requests,
        step=progress.step,
        e_value=_rounded(verdict.e_value),
        e_values=tuple(_rounded(test.e_value) for test in verdict.tests),
    )
    points = progress.trace
    if points and points[-1].requests == now.requests:
        points = points[:-1]
    elif len(points) > 1 and not _apart(points[-2], points[-1], now.requests):
        points = (*points[:-2], _higher(points[-2], points[-1]))
    points = (*points, now)
    if len(points) > MAX_POINTS:
        points = _halved(points)
    return msgspec.structs.replace(progress, trace=points)


def _apart(before: TracePoint, after: TracePoint, requests: int) -> bool:
    return after.step != before.step or (after.requests - before.requests) * _PARTS >= requests


def _halved(points: tuple[TracePoint, ...]) -> tuple[TracePoint, ...]:
    """The first and the last, and of each two between them the one with more evidence."""
    between = points[1:-1]
    pairs = zip(between[::2], between[1::2], strict=False)
    odd = between[-1:] if len(between) % 2 else ()
    return (points[0], *(_higher(*pair) for pair in pairs), *odd, points[-1])


def _higher(one: TracePoint, other: TracePoint) -> TracePoint:
    return one if one.e_value > other.e_value else other


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
