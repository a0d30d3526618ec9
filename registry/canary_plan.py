"""How a guarded canary grows: its steps, and the guard that may take it back at any moment."""

from typing import Final

import msgspec


class CanaryStep(msgspec.Struct, frozen=True, kw_only=True):
    """A share of the traffic, and what has to be seen at it before the next."""

    permille: int
    min_duration_s: int = 60
    """Least time at this share, as far as control was there to watch."""
    min_requests: int = 100
    """Least number of requests that the canary answered at this share."""


class CanaryGuard(msgspec.Struct, frozen=True, kw_only=True):
    """What the canary may do to its callers. A limit that is None is not watched."""

    alpha: float = 0.01
    """Greatest probability with which a canary that keeps all limits is ever rolled back, over the
    whole rollout, however often it is looked at."""
    max_error_rate_increase: float | None = 0.0
    """By how much its share of failed requests (5xx, failed runs) may be above stable's."""
    p99_ratio: float | None = 1.5
    """No more of its answers may be slower than this many times stable's 99th percentile than of
    stable's own, plus one in a hundred."""
    max_p99_ms: float | None = None
    """At most one in a hundred of its answers may take longer, in milliseconds."""
    max_disagreement: float | None = None
    """Share of rows that it may answer otherwise than stable, in the mean over requests."""
    max_score_shift: float | None = None
    """By how much its scores may be above or below stable's, in the mean over requests, of each of
    which counts the mean of its rows."""
    score_scale: float = 1.0
    """Greatest difference of two scores: 1 for probabilities. From the first that is greater,
    shifts prove nothing, and the canary is held."""
    min_requests: int = 20
    """Nothing is rolled back before the canary has answered so many."""

    @property
    def compares(self) -> bool:
        """Whether it needs the canary's answers beside stable's to the same requests."""
        return self.max_disagreement is not None or self.max_score_shift is not None


class CanaryPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The whole way of a canary."""

    steps: tuple[CanaryStep, ...]
    guard: CanaryGuard = CanaryGuard()
    promote: bool = False
    """Whether it becomes stable after the last step; else it stays there."""
    forced: bool = False
    """Whether it was begun in spite of breaking callers, so that it may be promoted as well."""
    since: int = 0
    """UNIX milliseconds at which this plan was set."""


DEFAULT_STEPS: Final = tuple(CanaryStep(permille=share) for share in (10, 50, 250, 500, 1000))
"""1, 5, 25, 50 and 100 percent."""


def same_plan(one: CanaryPlan, other: CanaryPlan) -> bool:
    """Whether they say the same, whenever they were set."""
    return msgspec.structs.replace(one, since=0) == msgspec.structs.replace(other, since=0)
