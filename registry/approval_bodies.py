"""What the routes of gates and approvals take, with the bounds of every field, and give."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from registry.approval_desk import Matter
from registry.clock import rfc3339
from registry.criteria_judging import Judged, JudgedPart, Outcome
from registry.gates import ApprovalStanding, Gate, Standing
from registry.inputs import no_nul
from registry.store.approvals import Approval

Reason = Annotated[str, Field(max_length=2000), AfterValidator(no_nul)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class DecisionInput(_Input):
    """What the sponsor decides, and why; a refusal has a reason."""

    decision: Literal["approve", "refuse"]
    reason: Reason = ""


class ApprovalRequestInput(_Input):
    """What the sponsor should know."""

    note: Reason = ""


class PartOutput(BaseModel):
    """One comparison of a criterion."""

    text: str
    outcome: Outcome
    detail: str
    """In words."""
    value: float | None
    bound: float | None
    """What the value is compared with."""
    short_by: float | None
    """How far the value is from what would do."""
    evidence: list[str]
    """Digests of the evaluations that were looked in."""
    rows: list[str]
    """Their names of the rows."""

    @classmethod
    def of(cls, part: JudgedPart) -> "PartOutput":
        """From the domain."""
        return cls(
            text=part.text,
            outcome=part.outcome,
            detail=part.detail,
            value=part.value,
            bound=part.bound,
            short_by=part.short_by,
            evidence=list(part.evidence),
            rows=list(part.rows),
        )


class CriterionOutput(BaseModel):
    """A criterion: `met`, `failed`, or `unknown` where it cannot be told."""

    criterion: str
    outcome: Outcome
    parts: list[PartOutput]

    @classmethod
    def of(cls, judged: Judged) -> "CriterionOutput":
        """From the domain."""
        return cls(
            criterion=judged.text,
            outcome=judged.outcome,
            parts=[PartOutput.of(part) for part in judged.parts],
        )


class StandingOutput(BaseModel):
    """How the sponsor's word stands."""

    state: Standing
    sponsor: str | None
    by: str | None
    at: str | None
    reason: str
    changed: str
    """What has changed since it was given."""

    @classmethod
    def of(cls, standing: ApprovalStanding) -> "StandingOutput":
        """From the domain."""
        return cls(
            state=standing.state,
            sponsor=standing.sponsor or None,
            by=standing.by or None,
            at=None if standing.at is None else rfc3339(standing.at),
            reason=standing.reason,
            changed=standing.changed,
        )


class GateOutput(BaseModel):
    """Whether the version may be approved, published and given traffic now, and what is missing."""

    model: str
    version: int
    passed: bool
    missing: list[str]
    """What stands in the way, in words."""
    requirements: int | None
    """The version of the requirements; null: the model has none, and everything passes."""
    stable: int | None
    manifest_digest: str
    evidence_digest: str
    criteria: list[CriterionOutput]
    approval: StandingOutput

    @classmethod
    def of(cls, gate: Gate) -> "GateOutput":
        """From the domain."""
        return cls(
            model=gate.model,
            version=gate.version,
            passed=gate.passed,
            missing=gate.missing,
            requirements=gate.requirements or None,
            stable=gate.stable,
            manifest_digest=gate.manifest_digest,
            evidence_digest=gate.evidence_digest,
            criteria=[CriterionOutput.of(one) for one in gate.criteria],
            approval=StandingOutput.of(gate.approval),
        )


class ApprovalOutput(BaseModel):
    """A decision, with everything that its signature is over."""

    model: str
    version: int
    decision: Literal["approve", "refuse"]
    reason: str
    actor: str
    at: str
    manifest_digest: str
    evidence_digest: str
    requirements: int
    requirements_digest: str
    signer: str
    """Id of the Ed25519 key that signed it."""
    signature: str

    @classmethod
    def of(cls, approval: Approval) -> "ApprovalOutput":
        """From the store's record."""
        return cls(
            model=approval.model,
            version=approval.number,
            decision=approval.decision,
            reason=approval.reason,
            actor=approval.actor,
            at=rfc3339(approval.at),
            manifest_digest=approval.manifest,
            evidence_digest=approval.evidence,
            requirements=approval.requirements,
            requirements_digest=approval.requirements_digest,
            signer=approval.signer,
            signature=approval.signature,
        )


class AskedOutput(BaseModel):
    """Who asked for a decision."""

    by: str
    at: str
    note: str


class MatterOutput(BaseModel):
    """A version that awaits its sponsor's decision, or has one."""

    model: str
    title: str
    version: int
    state: str
    description: str
    created_by: str
    created_at: str
    requirements: int
    """The version of the requirements that hold now."""
    stable: int | None
    """The version that answers now."""
    approval: StandingOutput
    asked: AskedOutput | None
    """Null: nobody has asked by name since the last decision; what is validated waits all the
    same."""

    @classmethod
    def of(cls, matter: Matter) -> "MatterOutput":
        """From the domain."""
        asked = matter.asked
        return cls(
            model=matter.model,
            title=matter.title,
            version=matter.version,
            state=matter.state,
            description=matter.description,
            created_by=matter.created_by,
            created_at=rfc3339(matter.created_at),
            requirements=matter.requirements,
            stable=matter.stable,
            approval=StandingOutput.of(matter.standing),
            asked=None
            if asked is None
            else AskedOutput(by=asked.by, at=rfc3339(asked.at), note=asked.note),
        )
