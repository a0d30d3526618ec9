"""What the API takes and gives about rollouts. Shares are percent there, in steps of 0.1."""

from typing import Annotated, Final, Self

from msgspec import UNSET
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from protocol.configuration import ShadowDoc
from registry.canary_bodies import (
    MAX_STEPS,
    PERMILLE,
    GuardedCanaryOutput,
    GuardInput,
    StepInput,
    plan_of,
    rising,
    steps_of,
    whole_steps,
)
from registry.clock import rfc3339
from registry.inputs import Number, Why
from registry.rollouts import CanaryWish, RolloutWish
from registry.store.rollouts import CanaryRecord, RolloutChange, RolloutRecord

MAX_SHADOWS: Final = 4
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), AfterValidator(whole_steps)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CanaryInput(_Input):
    """A version for a share of the applications that name none."""

    version: Number
    percent: Percent | None = None
    """Left out: the first step's, or that of the present canary, if it is this version."""
    steps: (
        Annotated[
            list[StepInput],
            Field(min_length=1, max_length=MAX_STEPS),
            AfterValidator(rising),
        ]
        | None
    ) = None
    """Shares that it goes through by itself, guarded. With a guard and neither steps nor percent:
    1, 5, 25, 50 and 100 percent."""
    guard: GuardInput | None = None
    """When it is rolled back by itself; left out with steps: by the defaults."""
    promote: bool = False
    """Whether it becomes stable after the last step."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.steps is not None and self.percent is not None:
            raise ValueError("give percent or steps, not both")
        if self.guard is not None and self.percent == 0:
            raise ValueError("percent: a guarded canary needs a share")
        if self.promote and self.steps is None and self.guard is None:
            raise ValueError("promote: only a guarded canary promotes itself; give steps or guard")
        return self

    def wish(self) -> CanaryWish:
        """The same for the domain."""
        plan = plan_of(self.percent, self.steps, self.guard, promote=self.promote)
        if plan is None and self.percent is None:
            return CanaryWish(version=self.version)
        share = None if self.percent is None else round(self.percent * PERMILLE)
        return CanaryWish(version=self.version, permille=share, plan=plan)


class ShadowInput(_Input):
    """A version that also scores a share of the requests, after their answer has left."""

    version: Number
    percent: Percent = 100.0


def _distinct(shadows: list[ShadowInput | int]) -> list[ShadowInput | int]:
    numbers = [one if isinstance(one, int) else one.version for one in shadows]
    if len(set(numbers)) < len(numbers):
        raise ValueError("names a version twice")
    return shadows


def _some(stable: int | None) -> int | None:
    # Runs for what was given alone: left out, the stable version stays.
    if stable is None:
        raise ValueError(
            "must be a version: leave it out to keep the stable one, or delete the label 'stable'"
            " so that calls which name no version are not answered"
        )
    return stable


class RolloutInput(_Input):
    """How the model's traffic should be answered. What is left out stays as it is."""

    stable: Annotated[Number | None, AfterValidator(_some)] = None
    """The version that answers calls which name none. Null is refused: the label `stable` is what
    to delete so that none does."""
    canary: CanaryInput | None = None
    """Null ends it."""
    shadow: (
        Annotated[
            list[ShadowInput | Number], Field(max_length=MAX_SHADOWS), AfterValidator(_distinct)
        ]
        | None
    ) = None
    """Versions, with a share or alone for all requests; null or an empty list ends them."""
    force: bool = False
    """Whether callers may be broken; needs a reason."""
    reason: Why = ""

    def wish(self) -> RolloutWish:
        """The same for the domain."""
        canary = None if self.canary is None else self.canary.wish()
        shadows = tuple(
            ShadowDoc(version=one)
            if isinstance(one, int)
            else ShadowDoc(version=one.version, permille=round(one.percent * PERMILLE))
            for one in self.shadow or ()
        )
        given = self.model_fields_set
        return RolloutWish(
            stable=UNSET if self.stable is None else self.stable,
            canary=canary if "canary" in given else UNSET,
            shadows=shadows if "shadow" in given else UNSET,
            force=self.force,
            reason=self.reason,
        )


class RollbackInput(_Input):
    """Why the traffic goes back."""

    reason: Why = ""


class CanaryOutput(BaseModel):
    """The canary."""

    version: int
    percent: float
    since: str
    """When this version became the canary."""
    steps: list[StepInput] | None
    """Null: its share is set by hand."""
    guard: GuardInput | None
    promote: bool

    @classmethod
    def of(cls, record: CanaryRecord) -> "CanaryOutput":
        """From the store's record."""
        return cls(
            version=record.version,
            percent=record.permille / PERMILLE,
            since=rfc3339(record.since),
            steps=None if record.plan is None else steps_of(record.plan),
            guard=None if record.plan is None else GuardInput.of(record.plan.guard),
            promote=record.plan is not None and record.plan.promote,
        )


class ShadowOutput(BaseModel):
    """A shadow."""

    version: int
    percent: float


class RolloutOutput(BaseModel):
    """How the model's traffic is answered."""

    stable: int | None
    """Null: calls that name no version are not answered."""
    canary: CanaryOutput | None
    shadow: list[ShadowOutput]
    """Empty for those who do not manage the model."""
    previous: int | None
    """The version that a rollback goes to; null: there is none."""
    guarded: GuardedCanaryOutput | None
    """The model's last guarded canary, under way or as it ended; null for those who do not manage
    the model."""

    @classmethod
    def of(
        cls, record: RolloutRecord, previous: int | None, guarded: GuardedCanaryOutput | None
    ) -> "RolloutOutput":
        """From the store's record."""
        return cls(
            stable=record.stable,
            canary=None if record.canary is None else CanaryOutput.of(record.canary),
            shadow=_shadows(record.shadows),
            previous=previous,
            guarded=guarded,
        )


class RolloutChangeOutput(BaseModel):
    """The rollout as one change left it."""

    stable: int | None
    canary: CanaryOutput | None
    shadow: list[ShadowOutput]
    cause: str
    """`set`, or `rollback`."""
    actor: str
    reason: str
    at: str

    @classmethod
    def of(cls, record: RolloutChange) -> "RolloutChangeOutput":
        """From the store's record."""
        return cls(
            stable=record.stable,
            canary=None if record.canary is None else CanaryOutput.of(record.canary),
            shadow=_shadows(record.shadows),
            cause=record.cause,
            actor=record.actor,
            reason=record.reason,
            at=rfc3339(record.at),
        )


def _shadows(shadows: tuple[ShadowDoc, ...]) -> list[ShadowOutput]:
    return [ShadowOutput(version=s.version, percent=s.permille / PERMILLE) for s in shadows]
