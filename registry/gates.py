"""Gates: whether a version may be approved, published and given traffic, and if not, why.

A gate compares the version's evidence with the model's present requirements, and with the version
that is stable now on the same rows; and it asks for the sponsor's approval where the requirements
name one. An approval is of one manifest, one set of evidence and one version of the requirements:
when any of them is another than it was, the approval holds no longer.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Literal

import msgspec
import rfc8785

from protocol.configuration import VersionState
from protocol.errors import Code, TollwayError
from protocol.seals import Grounds
from registry.criteria import parse_criterion
from registry.criteria_judging import Judge, Judged
from registry.measures import Evaluation, Subject
from registry.store import aliases as alias_store
from registry.store import approvals as approval_store
from registry.store import evidence as evidence_store
from registry.store import requirements as requirements_store
from registry.store import versions as version_store
from registry.store.approvals import Approval
from registry.store.database import Database, Transaction
from registry.store.requirements import RequirementsRecord
from registry.store.sealing import sealer_of
from registry.store.versions import VersionRecord
from registry.versions import Versions

Standing = Literal["not_needed", "missing", "refused", "outdated", "given"]
"""``outdated``: it was given, and what it was given for has changed."""

GATED: Final[frozenset[VersionState]] = frozenset({"approved", "published"})
"""States that a version takes only through its gate."""
STABLE: Final = "stable"


class ApprovalStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How the sponsor's word stands."""

    state: Standing
    sponsor: str = ""
    by: str = ""
    at: int | None = None
    """UNIX milliseconds."""
    reason: str = ""
    changed: str = ""
    """What has changed since it was given."""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate found."""

    model: str
    version: int
    manifest_digest: str
    evidence_digest: str
    requirements: int
    """Version of the requirements; 0: the model has none."""
    stable: int | None
    criteria: tuple[Judged, ...]
    approval: ApprovalStanding

    @property
    def criteria_met(self) -> bool:
        """Whether nothing but an approval can be missing."""
        return all(one.outcome == "met" for one in self.criteria)

    @property
    def passed(self) -> bool:
        """Whether the version may go on."""
        return self.criteria_met and self.approval.state in {"not_needed", "given"}

    @property
    def missing(self) -> list[str]:
        """What stands in the way, in words; for each criterion, by how much."""
        found = [one.detail for one in self.criteria if one.outcome != "met"]
        return found + ([] if (said := _said(self.approval)) is None else [said])


def approval_statement(approval: Approval) -> bytes:
    """What a sponsor's decision signs, as canonical JSON (RFC 8785)."""
    return rfc8785.dumps(
        {
            "schema": "tollway.approval/1",
            "model": approval.model,
            "number": approval.number,
            "decision": approval.decision,
            "reason": approval.reason,
            "actor": approval.actor,
            "at": approval.at,
            "manifest": approval.manifest,
            "evidence": approval.evidence,
            "requirements": approval.requirements,
            "requirements_digest": approval.requirements_digest,
        }
    )


class Gates:
    """Reports gates. Thread-safe; calls block."""

    def __init__(self, database: Database, versions: Versions) -> None:
        self._database = database
        self._versions = versions

    def report(self, model: str, number: int) -> Gate:
        """The gate of a version now. Raises ``MODEL_NOT_FOUND``, ``VERSION_NOT_FOUND``."""
        version = self._versions.get(model, number)
        with self._database.read() as connection:
            return judge(connection, version)

    def approvals(self, model: str, records: list[VersionRecord]) -> dict[int, ApprovalStanding]:
        """Number -> how the sponsor's word of each version stands; empty where none is needed."""
        with self._database.read() as connection:
            agreed = requirements_store.present(connection, model)
            if agreed is None or agreed.requirements.sponsor is None:
                return {}
            return {
                record.number: standing_of(
                    connection,
                    record,
                    agreed,
                    partial(evidence_store.digest_of, connection, model, record.number),
                )
                for record in records
            }


def judge(connection: Transaction, version: VersionRecord) -> Gate:
    """The gate of a version, as the transaction sees it."""
    agreed = requirements_store.present(connection, version.model)
    stable = alias_store.get(connection, version.model, STABLE)
    evidence = evidence_store.digest_of(connection, version.model, version.number)
    criteria: tuple[Judged, ...] = ()
    if agreed is not None and agreed.requirements.criteria:
        other = None if stable is None else _subject(connection, version.model, stable.version)
        subject = _subject(connection, version.model, version.number)
        assert subject is not None
        by = Judge(subject, other, agreed.requirements.segments)
        criteria = tuple(by.judge(parse_criterion(text)) for text in agreed.requirements.criteria)
    return Gate(
        model=version.model,
        version=version.number,
        manifest_digest=version.digest,
        evidence_digest=evidence,
        requirements=0 if agreed is None else agreed.number,
        stable=None if stable is None else stable.version,
        criteria=criteria,
        approval=standing_of(connection, version, agreed, lambda: evidence),
    )


def grounds(connection: Transaction, version: VersionRecord, to: VersionState) -> Grounds | None:
    """Why the version may become ``to``; None: for the reasons that it had. Raises ``CONFLICT``
    with everything that is missing. The caller holds the model's lock."""
    if to not in GATED:
        return None
    if requirements_store.present(connection, version.model) is None:
        return Grounds()
    gate = judge(connection, version)
    _refuse(gate, f"version {version.number} cannot become {to}")
    return Grounds(
        evidence=gate.evidence_digest,
        requirements=gate.requirements,
        sponsor=gate.approval.sponsor,
        approver=gate.approval.by,
    )


def check_promotion(connection: Transaction, version: VersionRecord, what: str) -> None:
    """Raise ``CONFLICT`` unless the version passes its gate now: what it was published for may
    have changed since. ``what`` it is to become. Going back to a version that was stable before
    asks for nothing: a rollback must not wait for anybody."""
    if requirements_store.present(connection, version.model) is not None:
        _refuse(judge(connection, version), f"version {version.number} cannot become {what}")


def _refuse(gate: Gate, what: str) -> None:
    if not gate.passed:
        raise TollwayError(Code.CONFLICT, f"{what}: {'; '.join(gate.missing)}")


def standing_of(
    connection: Transaction,
    version: VersionRecord,
    agreed: RequirementsRecord | None,
    evidence: Callable[[], str],
) -> ApprovalStanding:
    """How the sponsor's word on the version stands.

    ``evidence`` gives what stands for all of the version's: it reads all, and is asked only where
    an approval is there to compare it with.
    """
    sponsor = None if agreed is None else agreed.requirements.sponsor
    if agreed is None or sponsor is None:
        return ApprovalStanding(state="not_needed")
    newest = approval_store.newest(connection, version.model, version.number)
    if newest is None:
        return ApprovalStanding(state="missing", sponsor=sponsor)
    given = ApprovalStanding(
        state="given", sponsor=sponsor, by=newest.actor, at=newest.at, reason=newest.reason
    )
    signed = approval_statement(newest)
    if not sealer_of(connection).believes(newest.signer, newest.signature, signed):
        changed = ["its record was changed past this server"]
    else:
        changed = _changed(newest, version, agreed, evidence())
    if changed:
        return msgspec.structs.replace(given, state="outdated", changed="; ".join(changed))
    if newest.decision == "refuse":
        return msgspec.structs.replace(given, state="refused")
    return given


def _changed(
    approval: Approval, version: VersionRecord, agreed: RequirementsRecord, evidence: str
) -> list[str]:
    """How what was decided on differs from what is there now."""
    found = []
    if approval.manifest != version.digest:
        found.append("it is of another manifest")
    if approval.evidence != evidence:
        found.append("the evidence is another")
    if approval.requirements != agreed.number:
        found.append(
            f"it was given under requirements {approval.requirements}, now {agreed.number} hold"
        )
    elif approval.requirements_digest != agreed.digest:
        found.append(f"requirements {agreed.number} were changed past this server")
    if approval.actor != agreed.requirements.sponsor:
        found.append(f"{approval.actor!r} is not the sponsor any more")
    return found


def _subject(connection: Transaction, model: str, number: int) -> Subject | None:
    version = version_store.get(connection, model, number)
    if version is None:
        return None
    return Subject(
        number=number,
        digest=version.digest,
        manifest=version.manifest,
        evidence=tuple(
            Evaluation(partial(evidence_store.document, connection, one))
            for one in evidence_store.ids(connection, model, number)
        ),
    )


def _said(approval: ApprovalStanding) -> str | None:
    """What is missing of an approval, in words."""
    match approval.state:
        case "not_needed" | "given":
            return None
        case "missing":
            return f"the sponsor {approval.sponsor!r} has not approved it"
        case "refused":
            why = f": {approval.reason}" if approval.reason else ""
            return f"the sponsor {approval.sponsor!r} refused it{why}"
        case "outdated":
            return f"the approval of {approval.by!r} holds no longer: {approval.changed}"
