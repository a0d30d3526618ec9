"""What the API takes and gives about guarded canaries. Shares are percent there."""

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Final, Self

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from registry.canary_plan import DEFAULT_STEPS, CanaryGuard, CanaryPlan, CanaryStep
from registry.inputs import Why

PERMILLE: Final = 10
"""Permille in a percent."""
MAX_STEPS: Final = 20
MAX_DURATION_S: Final = 30 * 24 * 3600
MAX_REQUESTS: Final = 1_000_000_000
_EXACT: Final = 1e-6


def whole_steps(percent: float) -> float:
    """The percentage, if it is in steps of 0.1."""
    if abs(percent * PERMILLE - round(percent * PERMILLE)) > _EXACT:
        raise ValueError("must be in steps of 0.1")
    return percent


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class StepInput(_Input):
    """A share of the traffic, and what has to be seen at it before the next."""

    percent: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False), AfterValidator(whole_steps)]
    min_duration_s: Annotated[int, Field(ge=0, le=MAX_DURATION_S)] = 60
    min_requests: Annotated[int, Field(ge=1, le=MAX_REQUESTS)] = 100
    """Requests that the canary must have answered at this share."""


class GuardInput(_Input):
    """What the canary may do to its callers. A limit that is null is not watched."""

    alpha: Annotated[float, Field(ge=1e-6, le=0.2, allow_inf_nan=False)] = 0.01
    """Greatest probability that a canary which keeps all limits is rolled back, over the whole
    rollout."""
    max_error_rate_increase: Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)] | None = 0.0
    """By how much its share of failed requests may be above stable's."""
    p99_ratio: Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False)] | None = 1.5
    """No more of its answers than of stable's, plus one in a hundred, may be slower than this many
    times stable's 99th percentile."""
    max_p99_ms: Annotated[float, Field(ge=0.01, le=3_600_000, allow_inf_nan=False)] | None = None
    """At most one answer in a hundred may take longer."""
    max_disagreement: Annotated[float, Field(ge=1e-5, le=0.9, allow_inf_nan=False)] | None = None
    """Share of compared requests answered otherwise than by stable."""
    max_score_shift: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)] | None = None
    """By how much its scores may be above or below stable's, in the mean."""
    score_scale: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)] = 1.0
    """Greatest difference of two scores; 1 for probabilities."""
    min_requests: Annotated[int, Field(ge=1, le=MAX_REQUESTS)] = 20
    """Nothing is rolled back before the canary has answered so many."""

    @model_validator(mode="after")
    def _watches(self) -> Self:
        limits = (
            self.max_error_rate_increase,
            self.p99_ratio,
            self.max_p99_ms,
            self.max_disagreement,
            self.max_score_shift,
        )
        if all(limit is None for limit in limits):
            raise ValueError("watches nothing: one limit at least must not be null")
        if self.max_score_shift is not None and self.max_score_shift >= self.score_scale:
            raise ValueError("max_score_shift must be below score_scale")
        return self

    def guard(self) -> CanaryGuard:
        """The same for the domain."""
        return CanaryGuard(**self.model_dump())

    @classmethod
    def of(cls, guard: CanaryGuard) -> "GuardInput":
        """As it is shown again."""
        return cls(**msgspec.structs.asdict(guard))


def rising(steps: list[StepInput]) -> list[StepInput]:
    """The steps, if each has a greater share than the one before."""
    shares = [step.percent for step in steps]
    if any(after <= before for before, after in pairwise(shares)):
        raise ValueError("the percentages must rise from step to step")
    return steps


def plan_of(
    percent: float | None, steps: list[StepInput] | None, guard: GuardInput | None, *, promote: bool
) -> CanaryPlan | None:
    """The plan that a canary is given; None for one that is not guarded.

    Steps are guarded by the default guard where none is given; a guard without steps watches
    ``percent``, or goes the default steps where that is left out as well.
    """
    if steps is None and guard is None:
        return None
    if steps is not None:
        wanted = tuple(
            CanaryStep(
                permille=round(step.percent * PERMILLE),
                min_duration_s=step.min_duration_s,
                min_requests=step.min_requests,
            )
            for step in steps
        )
    elif percent is not None:
        wanted = (CanaryStep(permille=round(percent * PERMILLE)),)
    else:
        wanted = DEFAULT_STEPS
    return CanaryPlan(steps=wanted, guard=(guard or GuardInput()).guard(), promote=promote)


def steps_of(plan: CanaryPlan) -> list[StepInput]:
    """The steps of a plan, as they are shown again."""
    return [
        StepInput(
            percent=step.permille / PERMILLE,
            min_duration_s=step.min_duration_s,
            min_requests=step.min_requests,
        )
        for step in plan.steps
    ]


class CanaryReason(_Input):
    """Why a canary is paused, resumed, advanced or aborted."""

    reason: Why = ""


class TestOutput(BaseModel):
    """One of the guard's tests."""

    test: str
    e_value: float
    """1: no evidence of harm."""
    threshold: float
    """At which this test alone would roll the canary back."""
    allowed: float
    canary: float | None
    """What was measured of the canary; null where nothing was."""
    stable: float | None
    requests: int


class CountsOutput(BaseModel):
    """Requests of a version in the run."""

    requests: int
    errors: int
    """Answered with 5xx, or the model failed on them."""


class GuardedCanaryOutput(BaseModel):
    """The model's last guarded canary, under way or as it ended."""

    version: int
    stable: int
    """The version beside which it runs."""
    state: str
    """`running`, `paused`, `completed` (at its last step), `promoted`, `rolled_back`, `aborted`, or
    `ended` by another change of the rollout."""
    reason: str
    """What it waits for, or why it ended."""
    step: int
    """From 1."""
    steps: list[StepInput]
    percent: float
    promote: bool
    began_at: str
    step_began_at: str
    step_requests: int
    """That the canary answered in this step."""
    step_watched_s: int
    ended_at: str | None
    canary: CountsOutput
    stable_counts: CountsOutput
    compared: int
    """Requests that both answered."""
    guard: GuardInput
    e_value: float
    """Of all tests together: rolled back at the threshold."""
    threshold: float
    tests: list[TestOutput]


class TracePointOutput(BaseModel):
    """What the guard's tests had come to after so many requests of the canary."""

    requests: int
    step: int
    """From 1."""
    e_value: float
    """Of all tests together."""
    e_values: list[float]
    """Of each test."""


class CanaryTraceOutput(BaseModel):
    """How the evidence about a guarded canary came about. A long run is thinned: of neighbouring
    points the one with the greatest e-value is kept, and the last is the present."""

    version: int
    state: str
    threshold: float
    """Of all tests together: rolled back there."""
    tests: list[str]
    points: list[TracePointOutput]


GuardedOf = Callable[[str], GuardedCanaryOutput | None]
"""``guarded(model)``: the model's last guarded canary. The registry asks; the composition root
knows."""


def unguarded(_model: str) -> GuardedCanaryOutput | None:
    """The answer where no guard is known."""
    return None


class CanaryDecisionOutput(BaseModel):
    """A decision about a guarded canary."""

    version: int
    action: str
    """`started`, `held`, `advanced`, `rolled_back`, `promoted`, `completed`, `paused`, `resumed`,
    `aborted`, `ended`."""
    percent: float
    """The canary's share from then on."""
    actor: str
    reason: str
    at: str
    evidence: dict[str, object]
    """The numbers at that moment: counts, e-values and thresholds."""
