"""From what was counted to e-values: the tests of a guard, bet batch by batch.

A batch is what was counted since the last one, closed at the first look at which it has requests of
both versions: the moment depends on the traffic, never on how it went. See ``monitoring``.
"""

import math
from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from control.rollouts.evidence import TestName, TestReport, Verdict, in_scale
from control.rollouts.progress import Compared, Progress, Seen, Standing, Tally
from monitoring.evidence import Floats, Wealth, begin, bet, family, log_e_value
from monitoring.proportions import (
    Counts,
    above_control,
    above_limit,
    counts,
    expected_share,
    upper_bound,
)
from monitoring.shifts import beyond, differences
from registry.canary_plan import CanaryGuard, CanaryPlan

SLOW: Final = 0.01
"""Share of answers that may be slower than a 99th percentile."""
FOR_BOUNDS: Final = 0.1
"""Part of alpha that is kept for what is said of stable once it has no traffic to compare with."""
WHOLE: Final = 1000
"""Permille at which nobody is answered by stable any more."""
_MOST: Final = 700.0
"""Logarithms above this are shown as their greatest number."""


def tests_of(guard: CanaryGuard) -> dict[TestName, float]:
    """The tests that a guard asks for, with what is allowed."""
    limits: dict[TestName, float | None] = {
        "error_rate": guard.max_error_rate_increase,
        "p99_ratio": guard.p99_ratio,
        "p99_ms": guard.max_p99_ms,
        "disagreement": guard.max_disagreement,
        "score_shift": guard.max_score_shift,
    }
    return {name: limit for name, limit in limits.items() if limit is not None}


def take(progress: Progress, plan: CanaryPlan, seen: Seen) -> Progress:
    """Bet on what has been counted since the last batch, where it makes one."""
    taken, guard = progress.taken, plan.guard
    alone = plan.steps[progress.step].permille == WHOLE
    tests = dict(progress.tests)
    canary, stable = seen.canary.minus(taken.canary), seen.stable.minus(taken.stable)
    if canary.requests > 0 and (stable.requests > 0 or alone):
        wanted = tests_of(guard)
        each = guard.alpha * FOR_BOUNDS / max(len(wanted.keys() & _BESIDE_STABLE.keys()), 1)
        for name in wanted.keys() & _BESIDE_STABLE.keys():
            counted, margin = _BESIDE_STABLE[name], _margin(name, guard)
            tests[name] = _bet(
                tests.get(name),
                _beside_stable(
                    counted(canary), counted(stable), counted(taken.stable), margin, each
                ),
            )
        if guard.max_p99_ms is not None:
            late = counts(canary.requests, canary.over_limit)
            tests["p99_ms"] = _bet(tests.get("p99_ms"), above_limit(late, SLOW))
        taken = msgspec.structs.replace(taken, canary=seen.canary, stable=seen.stable)
    pairs = seen.compared.minus(taken.compared)
    if pairs.requests > 0:
        tests |= _compared(tests, pairs, guard)
    if pairs.requests != 0:  # less than there was: the oldest is not kept any more
        taken = msgspec.structs.replace(taken, compared=seen.compared)
    return msgspec.structs.replace(progress, tests=tests, taken=taken)


def _compared(
    tests: dict[str, Standing], pairs: Compared, guard: CanaryGuard
) -> dict[str, Standing]:
    """Bets on pairs of answers. Each request is one observation, the mean of its rows: rows of one
    request may depend on one another, and a request of many rows proves no more than one of few."""
    found = {}
    if guard.max_disagreement is not None and pairs.labelled_requests > 0:
        flips = counts(pairs.labelled_requests, pairs.flip_shares)
        log_e = above_limit(flips, guard.max_disagreement)
        found["disagreement"] = _bet(tests.get("disagreement"), log_e)
    if guard.max_score_shift is not None and pairs.measured_requests > 0 and in_scale(pairs, guard):
        shifts = differences(
            pairs.measured_requests, pairs.request_shifts, pairs.request_shift_squares
        )
        log_e = beyond(shifts, guard.max_score_shift, guard.score_scale)
        found["score_shift"] = _bet(tests.get("score_shift"), log_e)
    return found


def verdict(progress: Progress, plan: CanaryPlan) -> Verdict:
    """What the bets have come to."""
    guard, wanted = plan.guard, tests_of(plan.guard)
    alpha = guard.alpha
    if plan.steps[-1].permille == WHOLE:
        alpha *= 1 - FOR_BOUNDS
    logs = {name: _log_e(progress.tests.get(name)) for name in wanted}
    together = float(family(np.array(list(logs.values()))))
    return Verdict(
        e_value=_number(together),
        threshold=1 / alpha,
        tests=tuple(
            _report(name, allowed, logs[name], len(wanted) / alpha, progress.taken)
            for name, allowed in wanted.items()
        ),
    )


def _beside_stable(
    canary: Counts, stable: Counts, before: Counts, margin: float, alpha: float
) -> Floats:
    """Against stable's requests of the same batch; where there are none, against the most that all
    those before it allow for."""
    if stable.number > 0:
        return above_control(canary, stable, expected_share(before), margin)
    return above_limit(canary, float(upper_bound(before, alpha)) + margin)


def _errors(tally: Tally) -> Counts:
    return counts(tally.requests, tally.errors)


def _slow(tally: Tally) -> Counts:
    return counts(tally.timed, tally.over_p99)


_BESIDE_STABLE: Final[dict[TestName, Callable[[Tally], Counts]]] = {
    "error_rate": _errors,
    "p99_ratio": _slow,
}


def _margin(name: TestName, guard: CanaryGuard) -> float:
    return SLOW if name == "p99_ratio" else guard.max_error_rate_increase or 0.0


def _bet(standing: Standing | None, log_e: Floats) -> Standing:
    if standing is None:
        wealth = begin(len(log_e))
    else:
        wealth = Wealth(np.array(standing.log_wealth), standing.batches)
    after = bet(wealth, log_e)
    return Standing(log_wealth=tuple(after.log_wealth.tolist()), batches=after.batches)


def _log_e(standing: Standing | None) -> float:
    if standing is None:
        return 0.0
    return float(log_e_value(Wealth(np.array(standing.log_wealth), standing.batches)))


def _number(log: float) -> float:
    return math.exp(min(log, _MOST))


def _report(
    name: TestName, allowed: float, log_e: float, threshold: float, taken: Seen
) -> TestReport:
    canary, stable, pairs = taken.canary, taken.stable, taken.compared
    rates: dict[TestName, tuple[float | None, float | None, int]] = {
        "error_rate": (
            _share(canary.errors, canary.requests),
            _share(stable.errors, stable.requests),
            canary.requests,
        ),
        "p99_ratio": (
            _share(canary.over_p99, canary.timed),
            _share(stable.over_p99, stable.timed),
            canary.timed,
        ),
        "p99_ms": (_share(canary.over_limit, canary.requests), None, canary.requests),
        "disagreement": (
            _share(pairs.flip_shares, pairs.labelled_requests),
            None,
            pairs.labelled_requests,
        ),
        "score_shift": (
            _share(pairs.request_shifts, pairs.measured_requests),
            None,
            pairs.measured_requests,
        ),
    }
    measured, beside, requests = rates[name]
    return TestReport(
        test=name,
        e_value=_number(log_e),
        threshold=threshold,
        allowed=allowed,
        canary=measured,
        stable=beside,
        requests=requests,
    )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
