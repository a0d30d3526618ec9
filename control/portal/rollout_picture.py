"""What answers a model's calls now: lanes that traffic flows into, and shapes of SVG. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from control.pins import Pin
from registry.rollout_bodies import RolloutOutput

LANE: Final = 64
"""Height of a lane, as ``rollout.css`` has it (4rem)."""
_THICK: Final = 44.0
"""Height of all of the traffic where it flows."""
_THIN: Final = 3.0
"""Nothing that flows is thinner."""
_BEND: Final = 50
_WIDE: Final = 100
NAMED: Final = 3
"""Applications that a lane names."""

Kind = Literal["stable", "canary", "shadow", "pinned", "label"]
Variants = Mapping[tuple[str, int], int]
"""Variant and version -> requests lately."""


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """Where some of the calls go."""

    kind: Kind
    version: int
    title: str
    detail: str
    percent: float | None = None
    requests: int | None = None
    """Lately; None where that is not counted apart."""


class Stream(msgspec.Struct, frozen=True):
    """A shape of the flow: an SVG path."""

    kind: Kind
    path: str


class Picture(msgspec.Struct, frozen=True):
    """Everything that answers."""

    lanes: tuple[Lane, ...]
    streams: tuple[Stream, ...]

    @property
    def height(self) -> int:
        """Of the drawing, in its own units."""
        return LANE * max(len(self.lanes), 1)


def picture_of(
    rollout: RolloutOutput, pins: Sequence[Pin], labels: Mapping[str, int], recent: Variants
) -> Picture:
    """The picture of a rollout."""
    lanes = (
        *_traffic(rollout, recent),
        *_shadows(rollout),
        *_pinned(pins, recent),
        *_labelled(labels),
    )
    return Picture(lanes, tuple(_streams(lanes)))


def _traffic(rollout: RolloutOutput, recent: Variants) -> list[Lane]:
    if rollout.stable is None:
        return []
    canary = rollout.canary
    share = 0.0 if canary is None else canary.percent
    found = [
        Lane(
            kind="stable",
            version=rollout.stable,
            title="Stable",
            detail="answers every call that names no version"
            if canary is None
            else "answers the other applications, and calls without one",
            percent=100 - share,
            requests=recent.get(("stable", rollout.stable), 0),
        )
    ]
    if canary is not None:
        found.append(
            Lane(
                kind="canary",
                version=canary.version,
                title="Canary",
                detail="guarded: takes its steps by itself"
                if canary.guard is not None
                else "not guarded: its share is set by hand",
                percent=share,
                requests=recent.get(("canary", canary.version), 0),
            )
        )
    return found


def _shadows(rollout: RolloutOutput) -> list[Lane]:
    return [
        Lane(
            kind="shadow",
            version=one.version,
            title="Shadow",
            detail="scores copies; nobody gets its answers",
            percent=one.percent,
        )
        for one in rollout.shadow
    ]


def _pinned(pins: Sequence[Pin], recent: Variants) -> list[Lane]:
    by_version: dict[int, list[str]] = {}
    for pin in pins:
        by_version.setdefault(pin.version, []).append(pin.application)
    return [
        Lane(
            kind="pinned",
            version=version,
            title="Pinned",
            detail=_named(names),
            requests=recent.get(("pinned", version), 0),
        )
        for version, names in sorted(by_version.items(), reverse=True)
    ]


def _labelled(labels: Mapping[str, int]) -> list[Lane]:
    by_version: dict[int, list[str]] = {}
    for label, version in labels.items():
        if label != "stable":
            by_version.setdefault(version, []).append(label)
    return [
        Lane(
            kind="label",
            version=version,
            title="Label" if len(names) == 1 else "Labels",
            detail=f"calls that name {_named(names)}",
        )
        for version, names in sorted(by_version.items(), reverse=True)
    ]


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _streams(lanes: Sequence[Lane]) -> list[Stream]:
    """Ribbons from where calls come in to their lanes: as thick as their share."""
    flowing = [lane for lane in lanes if lane.kind in ("stable", "canary")]
    thick = [max(_THICK * (lane.percent or 0) / 100, _THIN) for lane in flowing]
    top = (LANE * len(flowing) - sum(thick)) / 2
    found, at = [], top
    for index, (lane, width) in enumerate(zip(flowing, thick, strict=True)):
        found.append(Stream(lane.kind, _ribbon(at, LANE * (index + 0.5) - width / 2, width)))
        at += width
    for index, lane in enumerate(lanes):
        middle = LANE * (index + 0.5)
        if lane.kind == "shadow":
            found.append(Stream(lane.kind, _line(at - _THIN / 2, middle)))
        elif lane.kind not in ("stable", "canary"):
            found.append(Stream(lane.kind, _line(middle, middle)))
    return found


def _ribbon(left: float, right: float, width: float) -> str:
    return (
        f"M0 {left:.1f}C{_BEND} {left:.1f} {_BEND} {right:.1f} {_WIDE} {right:.1f}"
        f"V{right + width:.1f}C{_BEND} {right + width:.1f} {_BEND} {left + width:.1f}"
        f" 0 {left + width:.1f}Z"
    )


def _line(left: float, right: float) -> str:
    return f"M0 {left:.1f}C{_BEND} {left:.1f} {_BEND} {right:.1f} {_WIDE} {right:.1f}"
