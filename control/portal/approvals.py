"""What a sponsor decides on, gathered from the API: the number of calls is the same for every
version."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from control.portal.api import Api, ApiRefusal
from protocol.errors import Code
from protocol.evidence import Evidence, Measured
from protocol.manifest import Manifest
from registry.approval_bodies import ApprovalOutput, GateOutput, MatterOutput
from registry.compatibility import differences
from registry.criteria import Measure
from registry.evidence_inputs import EvidenceOutput
from registry.measures import Untold, smaller_is_better
from registry.outputs import ModelOutput, Page, VersionOutput
from registry.requirements_inputs import RequirementsOutput

SHOWN: Final = 50
SHOWN_EVIDENCE: Final = 50
SHOWN_DECISIONS: Final = 100


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """What waits, and what was decided."""

    waiting: Sequence[MatterOutput]
    more_waiting: str | None
    decided: Sequence[MatterOutput]
    more_decided: str | None


class MetricRow(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of the version beside that of stable."""

    name: str
    here: Measured | None
    stable: Measured | None
    main: bool

    @property
    def difference(self) -> float | None:
        """The version's value minus stable's."""
        if self.here is None or self.stable is None:
            return None
        return self.here.value - self.stable.value

    @property
    def tone(self) -> str:
        """``good`` where it is better than stable's, ``bad`` where it is worse,
        nothing where that is not known."""
        difference = self.difference
        if not difference:
            return ""
        try:
            smaller = smaller_is_better(Measure(name=self.name))
        except Untold:
            return ""
        return "good" if (difference < 0) == smaller else "bad"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The version beside the one that is stable."""

    stable: int | None
    metrics: tuple[MetricRow, ...]
    rows_name: str
    rows: int
    same_rows: bool
    """Whether both were evaluated on the same rows."""
    breaking: tuple[str, ...]
    """What callers of stable could trip over."""


class Matter(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one version's approval."""

    model: ModelOutput
    version: VersionOutput
    manifest: Manifest
    gate: GateOutput
    requirements: RequirementsOutput | None
    evidence: Sequence[EvidenceOutput]
    decisions: Sequence[ApprovalOutput]
    comparison: Comparison
    asked: MatterOutput | None

    @property
    def latest(self) -> Evidence | None:
        """The newest evaluation."""
        return msgspec.convert(self.evidence[-1].evidence, Evidence) if self.evidence else None

    @property
    def criteria_met(self) -> bool:
        """Whether an approval is all that can be missing."""
        return all(one.outcome == "met" for one in self.gate.criteria)


async def read_desk(api: Api, waiting_after: str = "", decided_after: str = "") -> Desk:
    """What is asked of the visitor, or of the sponsors of the models that they manage."""
    waiting, decided = await asyncio.gather(
        api.get("/approvals", Page[MatterOutput], limit=SHOWN, after=waiting_after or None),
        api.get(
            "/approvals",
            Page[MatterOutput],
            state="decided",
            limit=SHOWN,
            after=decided_after or None,
        ),
    )
    return Desk(
        waiting=waiting.items,
        more_waiting=waiting.next,
        decided=decided.items,
        more_decided=decided.next,
    )


async def read_matter(api: Api, model: str, number: int) -> Matter:
    """Everything about one version. Raises :class:`ApiRefusal`."""
    base = f"/models/{model}/versions/{number}"
    known, version, gate, evidence, decisions = await asyncio.gather(
        api.get(f"/models/{model}", ModelOutput),
        api.get(base, VersionOutput),
        api.get(f"{base}/gate", GateOutput),
        _evidence(api, base),
        api.get(f"{base}/approvals", Page[ApprovalOutput], limit=SHOWN_DECISIONS),
    )
    manifest = msgspec.convert(version.manifest, Manifest)
    requirements, asked, comparison = await asyncio.gather(
        _requirements(api, model),
        _asked(api, model, number),
        _comparison(api, model, gate, manifest, evidence),
    )
    return Matter(
        model=known,
        version=version,
        manifest=manifest,
        gate=gate,
        requirements=requirements,
        evidence=evidence,
        decisions=decisions.items[::-1],
        comparison=comparison,
        asked=asked,
    )


async def _evidence(api: Api, version: str) -> list[EvidenceOutput]:
    """The newest evaluations of the version at ``version``, the newest last."""
    found = await api.get(
        f"{version}/evidence", Page[EvidenceOutput], limit=SHOWN_EVIDENCE, newest_first=True
    )
    return found.items[::-1]


async def _requirements(api: Api, model: str) -> RequirementsOutput | None:
    try:
        return await api.get(f"/models/{model}/requirements", RequirementsOutput)
    except ApiRefusal as refusal:
        if refusal.problem.code == Code.NOT_FOUND:
            return None
        raise


async def _asked(api: Api, model: str, number: int) -> MatterOutput | None:
    """Who asked: the one item that follows the version before."""
    found = await api.get(
        "/approvals", Page[MatterOutput], limit=1, after=f"{model}/{max(number - 1, 0)}"
    )
    return next((one for one in found.items if (one.model, one.version) == (model, number)), None)


async def _comparison(
    api: Api,
    model: str,
    gate: GateOutput,
    manifest: Manifest,
    evidence: Sequence[EvidenceOutput],
) -> Comparison:
    here = _newest(evidence)
    if gate.stable is None or gate.stable == gate.version:
        return compared(None, here, [], ())
    base = f"/models/{model}/versions/{gate.stable}"
    version, theirs = await asyncio.gather(
        api.get(base, VersionOutput),
        _evidence(api, base),
    )
    breaking = differences(msgspec.convert(version.manifest, Manifest), manifest)
    others = [msgspec.convert(one.evidence, Evidence) for one in theirs]
    return compared(gate.stable, here, others, tuple(breaking))


def _newest(evidence: Sequence[EvidenceOutput]) -> Evidence | None:
    return msgspec.convert(evidence[-1].evidence, Evidence) if evidence else None


def compared(
    stable: int | None,
    here: Evidence | None,
    others: Sequence[Evidence],
    breaking: tuple[str, ...],
) -> Comparison:
    """Metrics side by side: with stable's newest evaluation on the same rows, else its newest."""
    same = [one for one in others if here is not None and one.rows_digest == here.rows_digest]
    there = (same or list(others))[-1:]
    mine = {} if here is None else here.metrics
    theirs = there[0].metrics if there else {}
    main = here.main_metric if here is not None else ""
    names = sorted(mine.keys() | theirs.keys(), key=lambda name: (name != main, name))
    return Comparison(
        stable=stable,
        metrics=tuple(
            MetricRow(name=name, here=mine.get(name), stable=theirs.get(name), main=name == main)
            for name in names
        ),
        rows_name="" if here is None else here.rows_name,
        rows=0 if here is None else here.rows,
        same_rows=bool(same),
        breaking=breaking,
    )
