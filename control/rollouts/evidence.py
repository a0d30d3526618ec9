"""The evidence about a guarded canary: what its tests have come to."""

import math
from typing import Literal

import msgspec

from control.rollouts.progress import Compared, Progress, Seen
from registry.canary_plan import CanaryGuard, CanaryPlan

TestName = Literal["error_rate", "p99_ratio", "p99_ms", "disagreement", "score_shift"]


class TestReport(msgspec.Struct, frozen=True, kw_only=True):
    """One test, as decisions and the API show it."""

    test: TestName
    e_value: float
    """1: no evidence. The canary is rolled back when the mean over the tests reaches 1 / alpha."""
    threshold: float
    """At which this test alone is enough."""
    allowed: float
    """The limit, as the guard states it."""
    canary: float | None
    """What was measured of the canary; None where nothing was."""
    stable: float | None
    """The same of stable, where both are compared."""
    requests: int
    """Of the canary, that were bet on."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """All tests together."""

    e_value: float
    threshold: float
    tests: tuple[TestReport, ...]

    @property
    def harmful(self) -> bool:
        """Whether the evidence is enough to roll back."""
        return self.e_value >= self.threshold

    @property
    def doubtful(self) -> bool:
        """Whether it is half of the way there, as evidence multiplies: no time to advance."""
        return self.e_value >= math.sqrt(self.threshold)

    def worst(self) -> TestReport:
        """The test with the most evidence."""
        return max(self.tests, key=lambda report: report.e_value)


def in_scale(compared: Compared, guard: CanaryGuard) -> bool:
    """Whether the scores differ by no more than the guard was told. Beyond it nothing is proven."""
    return compared.largest <= guard.score_scale


def take(progress: Progress, plan: CanaryPlan, seen: Seen) -> Progress:
    """Bet on what has been counted since the last batch, where it makes one."""
    # NumPy: 20 MB that only a control with a guarded canary needs.
    from control.rollouts import betting  # noqa: PLC0415

    return betting.take(progress, plan, seen)


def verdict(progress: Progress, plan: CanaryPlan) -> Verdict:
    """What the bets have come to."""
    from control.rollouts import betting  # noqa: PLC0415

    return betting.verdict(progress, plan)
