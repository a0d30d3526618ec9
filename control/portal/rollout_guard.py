"""A guarded canary as its page shows it: its steps, and its tests drawn over requests. Pure."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from registry.canary_bodies import (
    CanaryTraceOutput,
    GuardedCanaryOutput,
    GuardInput,
    TestOutput,
    TracePointOutput,
)

WIDTH: Final = 600
HEIGHT: Final = 100
"""Of a drawing, in its own units; it is stretched to its place."""
_LOWEST: Final = 0.1
"""E-values below are drawn there: how much speaks *for* a canary decides nothing."""
_ABOVE: Final = 3.0
"""How far above the threshold a drawing goes, as a factor."""
ACTIVE: Final = frozenset({"running", "paused", "completed"})


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """One test of the guard."""

    title: str
    measured: str
    """What was seen of the canary, and of stable, in words."""
    allowed: str
    e_value: float
    threshold: float
    tone: str
    """``good``, ``warn`` or ``bad``."""
    requests: int
    line: str
    """Points of its polyline."""
    limit_y: float
    one_y: float
    """Where the e-value 1 lies: no evidence."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the plan."""

    percent: float
    min_duration_s: int
    min_requests: int
    state: Literal["done", "current", "next"]


class Guarded(msgspec.Struct, frozen=True, kw_only=True):
    """The whole."""

    run: GuardedCanaryOutput
    active: bool
    steps: tuple[Step, ...]
    tests: tuple[Test, ...]
    together: Test
    """All tests together: what decides."""
    seen: int
    """Requests on the drawings' right edge."""
    boundaries: tuple[float, ...]
    """Where steps began, across the drawing."""

    @property
    def step(self) -> Step:
        """The step that it is at, or ended at."""
        return self.steps[self.run.step - 1]


def guarded_of(run: GuardedCanaryOutput | None, trace: CanaryTraceOutput | None) -> Guarded | None:
    """The view; None where there was never a guarded canary."""
    if run is None:
        return None
    points = trace.points if trace is not None and trace.version == run.version else []
    seen = max(run.canary.requests, points[-1].requests if points else 0)
    return Guarded(
        run=run,
        active=run.state in ACTIVE,
        steps=_steps(run),
        tests=tuple(
            _test(test, run.guard, points, seen, index) for index, test in enumerate(run.tests)
        ),
        together=_drawn(
            "All tests together",
            "their mean decides",
            f"at most 1 good canary in {1 / run.guard.alpha:,.0f} is taken back",
            run.e_value,
            run.threshold,
            run.canary.requests,
            _line(points, seen, run.threshold, lambda point: point.e_value),
        ),
        seen=seen,
        boundaries=_boundaries(points, seen),
    )


def _steps(run: GuardedCanaryOutput) -> tuple[Step, ...]:
    done = run.state in ("completed", "promoted")

    def state(number: int) -> Literal["done", "current", "next"]:
        if number < run.step or (done and number == run.step):
            return "done"
        return "current" if number == run.step else "next"

    return tuple(
        Step(
            percent=step.percent,
            min_duration_s=step.min_duration_s,
            min_requests=step.min_requests,
            state=state(number),
        )
        for number, step in enumerate(run.steps, 1)
    )


def _test(
    test: TestOutput,
    guard: GuardInput,
    points: Sequence[TracePointOutput],
    seen: int,
    index: int,
) -> Test:
    title, measured, allowed = _words(test, guard)

    def value(point: TracePointOutput) -> float:
        return point.e_values[index] if index < len(point.e_values) else 1.0

    line = _line(points, seen, test.threshold, value)
    return _drawn(title, measured, allowed, test.e_value, test.threshold, test.requests, line)


def _drawn(
    title: str,
    measured: str,
    allowed: str,
    e_value: float,
    threshold: float,
    requests: int,
    line: str,
) -> Test:
    return Test(
        title=title,
        measured=measured,
        allowed=allowed,
        e_value=e_value,
        threshold=threshold,
        tone=tone_of(e_value, threshold),
        requests=requests,
        line=line,
        limit_y=_y(threshold, threshold),
        one_y=_y(1.0, threshold),
    )


def tone_of(e_value: float, threshold: float) -> str:
    """``bad`` at the threshold, ``warn`` where half of the evidence is there: it advances no more
    then."""
    if e_value >= threshold:
        return "bad"
    return "warn" if e_value >= math.sqrt(threshold) else "good"


def _words(test: TestOutput, guard: GuardInput) -> tuple[str, str, str]:
    """Title, what was measured, what is allowed."""
    match test.test:
        case "error_rate":
            more = f"{test.allowed:.2%} above stable" if test.allowed else "no more than stable"
            return "Failed requests", _beside(test, _percent), more
        case "p99_ratio":
            return (
                "Slow answers",
                _beside(test, _percent),
                f"no more slower than {test.allowed:g} times stable's 99th percentile",
            )
        case "p99_ms":
            return (
                "Answers over the limit",
                _beside(test, _percent),
                f"1 % over {test.allowed:g} ms",
            )
        case "disagreement":
            return "Disagreement", _beside(test, _percent), f"{test.allowed:.3g} of rows"
        case "score_shift":
            scale = f" of {guard.score_scale:g}"
            return "Shift of scores", _beside(test, _number), f"{test.allowed:g}{scale}, either way"
        case other:
            return other, _beside(test, _number), f"{test.allowed:g}"


def _beside(test: TestOutput, written: Callable[[float], str]) -> str:
    if test.canary is None:
        return "nothing measured yet"
    stable = "" if test.stable is None else f", stable {written(test.stable)}"
    return f"canary {written(test.canary)}{stable}"


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _line(
    points: Sequence[TracePointOutput],
    seen: int,
    threshold: float,
    value: Callable[[TracePointOutput], float],
) -> str:
    if not seen:
        return ""
    begin = [f"0,{_y(1.0, threshold):.1f}"]
    return " ".join(
        begin
        + [
            f"{point.requests * WIDTH / seen:.1f},{_y(value(point), threshold):.1f}"
            for point in points
        ]
    )


def _y(e_value: float, threshold: float) -> float:
    low, high = math.log(_LOWEST), math.log(threshold * _ABOVE)
    at = math.log(min(max(e_value, _LOWEST), threshold * _ABOVE))
    return HEIGHT * (1 - (at - low) / (high - low))


def _boundaries(points: Sequence[TracePointOutput], seen: int) -> tuple[float, ...]:
    found = []
    for before, after in itertools.pairwise(points):
        if after.step > before.step:
            found.append(before.requests * WIDTH / seen)
    return tuple(found)
