"""What the pages about models say, from what the API gives. Pure."""

from typing import Final

import msgspec

from control.publishing import PublishedModel, PublishedVersionItem
from protocol.configuration import FINAL_STATES, VersionState
from registry.approval_bodies import GateOutput, StandingOutput
from registry.outputs import VersionOutput

_WAITS: Final = {
    "load": ("warn", "Loading"),
    "gate": ("bad", "Gate"),
    "approval": ("warn", "Approval"),
    "publish": ("accent", "Publish"),
    "sunset": ("warn", "Sunset"),
}


APPROVED: Final = frozenset({"given", "not_needed"})
"""Standings of an approval that hold nothing up."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step on a version's way into traffic."""

    name: str
    said: str
    mark: str
    """``done``, ``now``, ``failed`` or ``later``."""


def waits(what: str) -> tuple[str, str]:
    """Tone and label of what waits."""
    return _WAITS[what]


def traffic(model: PublishedModel) -> list[tuple[str, str]]:
    """(version, share) of the calls that name no version, and the shadows."""
    if model.stable is None:
        return []
    left = 100.0 - (0.0 if model.canary is None else model.canary.percent)
    found = [(f"v{model.stable.number}", f"{left:g} %")]
    if model.canary is not None:
        found.append((f"v{model.canary.version}", f"{model.canary.percent:g} %"))
    return [*found, *((f"v{number}", "shadow") for number in model.shadows)]


def gate_badge(item: PublishedVersionItem) -> tuple[str, str]:
    """Text and tone of a version's gate in a table."""
    gate = item.gate
    if gate is None:
        return "", ""
    if gate.passed:
        return "passes", "good"
    if gate.met < gate.criteria:
        return f"{gate.met} of {gate.criteria} met", "bad" if gate.failed else "warn"
    return "approval missing", "warn"


def steps(version: VersionOutput, gate: GateOutput, *, answers: bool) -> list[Step]:
    """The way of a version from its registration to traffic, and where it stands. ``answers``: some
    calls that name no version go to it."""
    if version.state in FINAL_STATES:
        return []
    order: list[VersionState] = ["registered", "validated", "approved", "published"]
    reached = 3 if version.state == "deprecated" else order.index(version.state)
    criteria_met = not open_criteria(gate)
    approved = gate.approval.state in APPROVED
    found = [
        ("Registered", True, False, f"by {version.created_by}"),
        (
            "Loaded",
            reached >= 1 or version.serving.state == "ready",
            version.serving.state == "failed",
            {"ready": "an engine answers", "failed": "does not load"}.get(
                version.serving.state, "no engine yet"
            ),
        ),
        ("Validated", reached >= 1, False, "golden rows pass" if reached else "not yet"),
        (
            "Gate",
            criteria_met,
            not criteria_met,
            gate_words(gate),
        ),
        ("Approved", approved, gate.approval.state == "refused", approval_words(gate.approval)),
        ("Published", reached >= 3, False, "may be called" if reached >= 3 else "not yet"),  # noqa: PLR2004
        ("Traffic", answers, False, "answers calls" if answers else "only when it is named"),
    ]
    made, waiting = [], False
    for name, done, failed, said in found:
        mark = "done" if done else "failed" if failed else "later" if waiting else "now"
        waiting = waiting or not done
        made.append(Step(name=name, said=said, mark=mark))
    return made


def open_criteria(gate: GateOutput) -> int:
    """How many criteria are not met."""
    return sum(one.outcome != "met" for one in gate.criteria)


def gate_words(gate: GateOutput) -> str:
    """How a version stands to its criteria."""
    left = open_criteria(gate)
    if left:
        return f"{left} of {len(gate.criteria)} open"
    return "all criteria met" if gate.criteria else "nothing is required"


def approval_words(standing: StandingOutput) -> str:
    """How the sponsor's word stands."""
    return {
        "given": f"by {standing.by}",
        "not_needed": "no sponsor is named",
        "missing": f"{standing.sponsor} has not decided",
        "refused": f"refused by {standing.by}",
        "outdated": "no longer holds",
    }[standing.state]
