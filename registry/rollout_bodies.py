"""What the API takes and gives about rollouts. Shares are percent there, in steps of 0.1."""

from typing import Annotated, Final

from msgspec import UNSET
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from protocol.configuration import ShadowDoc
from registry.clock import rfc3339
from registry.inputs import Number, Why
from registry.rollouts import CanaryWish, RolloutWish
from registry.store.rollouts import CanaryRecord, RolloutChange, RolloutRecord

PERMILLE: Final = 10
"""Permille in a percent."""
MAX_SHADOWS: Final = 4
_EXACT: Final = 1e-6


def _whole_steps(percent: float) -> float:
    if abs(percent * PERMILLE - round(percent * PERMILLE)) > _EXACT:
        raise ValueError("must be in steps of 0.1")
    return percent


Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), AfterValidator(_whole_steps)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CanaryInput(_Input):
    """A version for a share of the applications that name none."""

    version: Number
    percent: Percent | None = None
    """Left out: that of the present canary, if it is this version."""

    def wish(self) -> CanaryWish:
        """The same for the domain."""
        share = None if self.percent is None else round(self.percent * PERMILLE)
        return CanaryWish(version=self.version, permille=share)


class ShadowInput(_Input):
    """A version that also scores a share of the requests, after their answer has left."""

    version: Number
    percent: Percent = 100.0


def _distinct(shadows: list[ShadowInput | int]) -> list[ShadowInput | int]:
    numbers = [one if isinstance(one, int) else one.version for one in shadows]
    if len(set(numbers)) < len(numbers):
        raise ValueError("names a version twice")
    return shadows


class RolloutInput(_Input):
    """How the model's traffic should be answered. What is left out stays as it is."""

    stable: Number | None = None
    """The version that answers calls which name none."""
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

    @classmethod
    def of(cls, record: CanaryRecord) -> "CanaryOutput":
        """From the store's record."""
        return cls(
            version=record.version,
            percent=record.permille / PERMILLE,
            since=rfc3339(record.since),
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

    @classmethod
    def of(cls, record: RolloutRecord, previous: int | None) -> "RolloutOutput":
        """From the store's record."""
        return cls(
            stable=record.stable,
            canary=None if record.canary is None else CanaryOutput.of(record.canary),
            shadow=_shadows(record.shadows),
            previous=previous,
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
