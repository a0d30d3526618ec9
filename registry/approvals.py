"""Approvals: a sponsor's word on a version, signed over everything that it was given for.

Only the sponsor whom the requirements name decides, whoever they are beside: nobody approves as
somebody else, admins included.
"""

import msgspec

from protocol.configuration import FINAL_STATES
from protocol.errors import Code, TollwayError
from registry.access import Actor
from registry.clock import Clock, rfc3339
from registry.gates import Gate, approval_statement, judge
from registry.seals import Sealer
from registry.store import approvals as store
from registry.store import audit
from registry.store import models as model_store
from registry.store import requirements as requirements_store
from registry.store import versions as version_store
from registry.store.approvals import Approval, Decision
from registry.store.database import Database, Transaction
from registry.store.requirements import RequirementsRecord
from registry.store.versions import VersionRecord
from registry.versions import Versions, version_not_found


class ApprovalAudit(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit log, and webhooks, keep of a decision or of the wish for one."""

    model: str
    version: int
    sponsor: str
    manifest: str
    evidence: str
    requirements: int
    decision: Decision | None = None
    """None: it was asked for."""
    reason: str = ""
    at: str = ""


class Approvals:
    """Takes decisions and wishes for them. Thread-safe; calls block."""

    def __init__(
        self, database: Database, versions: Versions, sealer: Sealer, clock: Clock
    ) -> None:
        self._database = database
        self._versions = versions
        self._sealer = sealer
        self._clock = clock

    def page(self, model: str, number: int, after: int, limit: int) -> list[Approval]:
        """Every decision about the version, oldest first, from the one following ``after``."""
        self._versions.get(model, number)
        with self._database.read() as connection:
            return store.page(connection, model, number, after, limit)

    def decide(
        self, model: str, number: int, decision: Decision, reason: str, *, by: Actor
    ) -> tuple[Approval, bool]:
        """Keep the sponsor's decision. Returns it, and whether it is new: the same again, while it
        holds, is none.

        Raises ``FORBIDDEN`` for everybody else, and ``CONFLICT`` where there is nothing to decide:
        no sponsor, a version that no engine has loaded or that is out of service, or, to approve,
        criteria that are not met.
        """
        with self._database.write() as connection:
            version, agreed = self._held(connection, model, number)
            sponsor = agreed.requirements.sponsor
            if by.role != "sponsor" or by.name != sponsor:
                raise TollwayError(
                    Code.FORBIDDEN,
                    f"only {sponsor!r}, the sponsor of model {model!r}, approves or refuses its "
                    "versions",
                )
            gate = judge(connection, version)
            if decision == "approve":
                _check_criteria(gate)
            newest = store.newest(connection, model, number)
            if newest is not None and _holds(gate, newest, decision):
                return newest, False
            now = self._clock()
            draft = Approval(
                model=model,
                number=number,
                decision=decision,
                reason=reason,
                actor=by.name,
                at=now,
                manifest=gate.manifest_digest,
                evidence=gate.evidence_digest,
                requirements=agreed.number,
                requirements_digest=agreed.digest,
            )
            signer, signature = self._sealer.sign(approval_statement(draft))
            signed = msgspec.structs.replace(draft, signer=signer, signature=signature)
            made = store.insert(connection, signed)
            action = "approval.given" if decision == "approve" else "approval.refused"
            _record(connection, action, _entry(gate, decision, reason, now), reason, now)
        return made, True

    def ask(self, model: str, number: int, note: str) -> Gate:
        """Tell the sponsor that a version awaits their decision: an entry in the audit log, of
        which webhooks hear. Returns the gate.

        Raises ``CONFLICT`` where it would be in vain: no sponsor, criteria that are not met, or
        an approval that is there.
        """
        with self._database.write() as connection:
            version, _agreed = self._held(connection, model, number)
            gate = judge(connection, version)
            _check_criteria(gate)
            if gate.approval.state == "given":
                raise TollwayError(
                    Code.CONFLICT, f"{gate.approval.by!r} has approved version {number} already"
                )
            now = self._clock()
            _record(connection, "approval.requested", _entry(gate, None, note, now), note, now)
        return gate

    @staticmethod
    def _held(
        connection: Transaction, model: str, number: int
    ) -> tuple[VersionRecord, RequirementsRecord]:
        """The version, locked, and the requirements that name a sponsor."""
        model_store.lock(connection, model)
        version = version_store.get(connection, model, number, lock=True)
        if version is None:
            raise version_not_found(model, number)
        agreed = requirements_store.present(connection, model)
        if agreed is None or agreed.requirements.sponsor is None:
            raise TollwayError(
                Code.CONFLICT, f"model {model!r} has no sponsor: its requirements name none"
            )
        if version.state in FINAL_STATES or version.state == "registered":
            hint = "it must be validated first" if version.state == "registered" else "it is final"
            raise TollwayError(
                Code.CONFLICT, f"version {number} is {version.state}, which nobody approves: {hint}"
            )
        return version, agreed


def _check_criteria(gate: Gate) -> None:
    if not gate.criteria_met:
        missing = "; ".join(one.detail for one in gate.criteria if one.outcome != "met")
        raise TollwayError(
            Code.CONFLICT, f"version {gate.version} does not meet the requirements: {missing}"
        )


def _holds(gate: Gate, newest: Approval, decision: Decision) -> bool:
    """Whether the newest decision says the same of the same."""
    return newest.decision == decision and gate.approval.state in {"given", "refused"}


def _entry(gate: Gate, decision: Decision | None, reason: str, at: int) -> ApprovalAudit:
    return ApprovalAudit(
        model=gate.model,
        version=gate.version,
        sponsor=gate.approval.sponsor,
        manifest=gate.manifest_digest,
        evidence=gate.evidence_digest,
        requirements=gate.requirements,
        decision=decision,
        reason=reason,
        at=rfc3339(at),
    )


def _record(
    connection: Transaction, action: str, entry: ApprovalAudit, reason: str, at: int
) -> None:
    key = f"{entry.model}/{entry.version}"
    audit.record(connection, action, "approval", key, at_ms=at, after=entry, reason=reason)
