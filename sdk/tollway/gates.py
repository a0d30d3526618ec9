"""Requirements of models, the gates that hold versions to them, and their sponsors' approvals."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tollway import errors
from tollway.registry import check_name, listing
from tollway.transport import Transport

_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """One version of what a model has to fulfil. Expressions are in their canonical form."""

    model: str
    number: int
    digest: str
    created_at: str | float
    created_by: str
    problem: str = ""
    owner: str = ""
    sponsor: str | None = None
    """The user whose approval every version needs; None: none is needed."""
    criteria: list[str] = field(default_factory=list)
    constraints: dict[str, list[str]] = field(default_factory=dict)
    """``technical``, ``regulatory`` and ``resource``, in words."""
    contract: dict[str, object] | None = None
    segments: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    """What of the contract holds for no version that the model has now, such as a rule for a column
    that none has; of the requirements that hold now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionPart:
    """One comparison of a criterion."""

    text: str
    outcome: str
    """``met``, ``failed``, or ``unknown`` where it cannot be told."""
    detail: str
    """In words."""
    value: float | None = None
    bound: float | None = None
    """What the value is compared with."""
    short_by: float | None = None
    """How far the value is from what would do."""
    evidence: list[str] = field(default_factory=list)
    """Digests of the evaluations that were looked in."""
    rows: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionResult:
    """A criterion, and how the version does by it."""

    criterion: str
    outcome: str
    parts: list[CriterionPart]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalStanding:
    """How the sponsor's word stands."""

    state: str
    """``not_needed``, ``missing``, ``given``, ``refused``, or ``outdated``: what it was given for
    has changed since."""
    sponsor: str | None = None
    by: str | None = None
    at: str | float | None = None
    reason: str = ""
    changed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether a version may be approved, published and given traffic now, and what is missing."""

    model: str
    version: int
    passed: bool
    missing: list[str]
    """What stands in the way, in words."""
    requirements: int | None
    stable: int | None
    manifest_digest: str
    evidence_digest: str
    criteria: list[CriterionResult]
    approval: ApprovalStanding


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A sponsor's decision about a version, with everything that it signs."""

    model: str
    version: int
    decision: str
    reason: str
    actor: str
    at: str | float
    manifest_digest: str
    evidence_digest: str
    requirements: int
    requirements_digest: str
    signer: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asked a sponsor for a decision."""

    by: str
    at: str | float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """A version that awaits its sponsor's decision, or has one."""

    model: str
    title: str
    version: int
    state: str
    description: str
    created_by: str
    created_at: str | float
    requirements: int
    stable: int | None
    approval: ApprovalStanding
    asked: Asked | None
    """None: nobody has asked by name since the last decision; what is validated waits all the
    same."""


class Gates:
    """Requirements, gates and approvals on the server."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def requirements(self, model: str, number: int | None = None) -> Requirements | None:
        """The requirements that hold now, or version ``number`` of them; None: there are none."""
        path = _requirements(model) + ("" if number is None else f"/{int(number)}")
        answer = self._transport.request("GET", path, accept=frozenset({_NOT_FOUND}))
        if answer.status_code == _NOT_FOUND:
            # Raises where it is the model that does not exist.
            self._transport.request("GET", f"/api/v1/models/{model}")
            return None
        return self._transport.read(answer, Requirements)

    def history(self, model: str) -> list[Requirements]:
        """Every version of the requirements, oldest first."""
        return list(listing(self._transport, f"{_requirements(model)}/history", Requirements))

    def set_requirements(self, model: str, given: Mapping[str, object]) -> Requirements:
        """Make the next version: ``given`` whole. Nobody else's change is overwritten unseen."""
        path = _requirements(model)
        present = self._transport.request("GET", path, accept=frozenset({_NOT_FOUND}))
        condition = (
            {"If-None-Match": "*"}
            if present.status_code == _NOT_FOUND
            else {"If-Match": present.headers.get("ETag", "*")}
        )
        answer = self._transport.request("PUT", path, json=dict(given), headers=condition)
        return self._transport.read(answer, Requirements)

    def gate(self, model: str, version: int) -> Gate:
        """What the present requirements say of a version."""
        return self._transport.get(f"{_version(model, version)}/gate", Gate)

    def approvals(self, model: str, version: int) -> list[Approval]:
        """Every decision about a version, oldest first. The newest counts, while it holds."""
        return list(listing(self._transport, f"{_version(model, version)}/approvals", Approval))

    def matters(self, state: str) -> list[Matter]:
        """Versions that are ``waiting`` for their sponsor, or ``decided``."""
        return list(listing(self._transport, "/api/v1/approvals", Matter, {"state": state}))

    def decide(self, model: str, version: int, decision: str, reason: str) -> Approval:
        """Approve or refuse a version, as its model's sponsor."""
        path = f"{_version(model, version)}/approvals"
        body = {"decision": decision, "reason": reason}
        return self._transport.read(self._transport.request("POST", path, json=body), Approval)

    def ask(self, model: str, version: int, note: str = "") -> Gate:
        """Tell the sponsor that a version awaits their decision."""
        path = f"{_version(model, version)}/approval-requests"
        answer = self._transport.request("POST", path, json={"note": note})
        return self._transport.read(answer, Gate)

    def held_back(self, model: str, version: int) -> errors.GateError | None:
        """Why a version that is staged goes no further, and what to do; None: its gate is open.

        Where nothing but the sponsor's word is missing, the sponsor is asked for it.
        """
        gate = self.gate(model, version)
        if gate.passed:
            return None
        said = f"model '{model}' version {version} is loaded, without traffic: "
        said += "; ".join(gate.missing)
        if any(one.outcome != "met" for one in gate.criteria):
            advice = (
                f"evaluate it (`tollway evaluate {model} {version} ...`), look at "
                f"`tollway gate {model} {version}`"
            )
        elif gate.approval.state == "refused":
            advice = (
                f"settle it with the sponsor, who may still `tollway approve {model} {version}`"
            )
        else:
            self.ask(model, version)
            advice = f"'{gate.approval.sponsor}' was asked to `tollway approve {model} {version}`"
        return errors.GateError(
            f"{said} - {advice}, then `tollway promote {model} {version}`",
            model=model,
            version=version,
            missing=gate.missing,
        )


class Gated:
    """What :class:`tollway.Client` offers about requirements and approvals."""

    _gates: Gates

    def requirements(self, model: str, number: int | None = None) -> Requirements | None:
        """What a model has to fulfil now, or version ``number`` of it; None: nothing."""
        return self._gates.requirements(model, number)

    def requirements_history(self, model: str) -> list[Requirements]:
        """Every version of a model's requirements, oldest first."""
        return self._gates.history(model)

    def set_requirements(self, model: str, requirements: Mapping[str, object]) -> Requirements:
        """Make the next version of a model's requirements, whole: ``problem``, ``owner``,
        ``sponsor``, ``criteria``, ``constraints``, ``contract`` and ``segments``, as JSON has them.

        Approvals that were given under the present version hold no longer.
        :class:`InvalidRequestError` points at the character of an expression that is none.
        """
        return self._gates.set_requirements(model, requirements)

    def gate(self, model: str, version: int) -> Gate:
        """Whether a version may be approved, published and given traffic now; for each criterion
        whether it is met, by how much it is missed, or why it cannot be told."""
        return self._gates.gate(model, version)

    def approvals(self, model: str, version: int) -> list[Approval]:
        """Every decision about a version, oldest first."""
        return self._gates.approvals(model, version)

    def awaiting_approval(self) -> list[Matter]:
        """The versions that await their sponsor's decision: one's own as a sponsor, else those of
        the models that one manages."""
        return self._gates.matters("waiting")

    def decided_approvals(self) -> list[Matter]:
        """The versions that their sponsors have decided on, and how that stands now."""
        return self._gates.matters("decided")

    def ask_approval(self, model: str, version: int, note: str = "") -> Gate:
        """Tell a model's sponsor, by webhook and audit log, that a version awaits them."""
        return self._gates.ask(model, version, note)

    def approve_version(self, model: str, version: int, reason: str = "") -> Approval:
        """Say go, as the model's sponsor. It is signed, and holds until the version's evidence or
        the model's requirements are others."""
        return self._gates.decide(model, version, "approve", reason)

    def refuse_version(self, model: str, version: int, reason: str) -> Approval:
        """Say no, as the model's sponsor, and why. Takes an approval back."""
        return self._gates.decide(model, version, "refuse", reason)


def _requirements(model: str) -> str:
    return f"/api/v1/models/{check_name(model, 'model')}/requirements"


def _version(model: str, version: int) -> str:
    return f"/api/v1/models/{check_name(model, 'model')}/versions/{int(version)}"
