"""Guarded canaries: steps that they take by themselves, and the guard that takes them back."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tollway.registry import check_name, listing
from tollway.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStep:
    """A share of the applications, and what has to be seen at it before the next."""

    percent: float
    """In steps of 0.1."""
    min_duration_s: int = 60
    min_requests: int = 100
    """Of the canary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What a canary may do to its callers; None: not watched. Shares are from 0 to 1."""

    alpha: float = 0.01
    """Greatest probability that a canary which keeps all limits is rolled back, ever."""
    max_error_rate_increase: float | None = 0.0
    """By how much its share of failed requests may be above stable's."""
    p99_ratio: float | None = 1.5
    """No more of its answers than of stable's, plus one in a hundred, may be slower than this many
    times stable's 99th percentile."""
    max_p99_ms: float | None = None
    max_disagreement: float | None = None
    """Share of rows that it may answer otherwise than stable, in the mean over requests: make it a
    shadow as well."""
    max_score_shift: float | None = None
    """By how much its scores may be above or below stable's, in the mean over requests."""
    score_scale: float = 1.0
    """Greatest difference of two scores: 1 for probabilities."""
    min_requests: int = 20
    """Nothing is rolled back before the canary has answered so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryTest:
    """One of the guard's tests: an ``e_value`` of 1 is no evidence of harm, and at ``threshold``
    this test alone is enough to roll back."""

    test: str
    e_value: float
    threshold: float
    allowed: float
    canary: float | None = None
    stable: float | None = None
    requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryCounts:
    """Requests of a version in the run, and those that failed."""

    requests: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedCanary:
    """A model's last guarded canary. ``state``: ``running``, ``paused``, ``completed``,
    ``promoted``, ``rolled_back``, ``aborted`` or ``ended``; ``reason``: what it waits for, or why
    it ended."""

    version: int
    stable: int
    state: str
    reason: str = ""
    step: int = 1
    """From 1."""
    steps: tuple[CanaryStep, ...] = ()
    percent: float = 0.0
    promote: bool = False
    began_at: str = ""
    step_began_at: str = ""
    step_requests: int = 0
    step_watched_s: int = 0
    ended_at: str | None = None
    canary: CanaryCounts = field(default_factory=CanaryCounts)
    stable_counts: CanaryCounts = field(default_factory=CanaryCounts)
    compared: int = 0
    guard: Guard = field(default_factory=Guard)
    e_value: float = 1.0
    """Of all tests together; it is rolled back at ``threshold``."""
    threshold: float = 0.0
    tests: tuple[CanaryTest, ...] = ()

    @property
    def over(self) -> bool:
        """Whether nothing more is decided about it."""
        return self.state not in ("running", "paused", "completed")


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryDecision:
    """A decision about a guarded canary; ``evidence`` has the numbers of that moment."""

    version: int
    action: str
    percent: float
    actor: str = ""
    reason: str = ""
    at: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


class Guarded:
    """The guarded canaries' part of the management API."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def act(self, model: str, action: str, reason: str) -> GuardedCanary:
        """``pause``, ``resume``, ``advance`` or ``abort`` it."""
        path = f"{_rollout(model)}/{action}"
        answer = self._transport.request("POST", path, json={"reason": reason})
        return self._transport.read(answer, GuardedCanary)

    def decisions(self, model: str) -> Iterator[CanaryDecision]:
        """Every decision, oldest first."""
        return listing(self._transport, f"{_rollout(model)}/decisions", CanaryDecision)


def canary_of(
    number: int,
    percent: float | None,
    steps: Iterable[CanaryStep | float] | None,
    guard: Guard | bool,
    *,
    promote: bool,
) -> dict[str, object]:
    """The canary as the API takes it."""
    canary: dict[str, object] = {"version": number}
    if percent is not None:
        canary["percent"] = percent
    if steps is not None:
        canary["steps"] = [
            asdict(one if isinstance(one, CanaryStep) else CanaryStep(percent=one)) for one in steps
        ]
    if guard is not False:
        canary["guard"] = asdict(guard) if isinstance(guard, Guard) else {}
    if promote:
        canary["promote"] = True
    return canary


def _rollout(model: str) -> str:
    return f"/api/v1/models/{check_name(model, 'model')}/rollout"
