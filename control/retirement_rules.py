"""Whether a version should be kept, deprecated or retired: quality, traffic and cost on one scale.

Pure. Advice, not a decision: a reason in words stands beside every recommendation.
"""

from typing import Final

import msgspec

from control.transition_resources import Advice
from protocol.configuration import VersionState

YOUNG_DAYS: Final = 30
"""A version younger than this has not had the time to show what it is good for."""


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """The main metric of the newest evaluation, and which direction is better."""

    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    smaller_is_better: bool | None = None
    """None: not known."""


class Weighed(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a version."""

    number: int
    state: VersionState
    age_days: int
    aliases: tuple[str, ...]
    quality: Quality | None
    requests: int
    callers: int
    engines: int
    memory_bytes: int | None = None
    """Of its engines now; None: nobody has told."""
    sunset_days: int | None = None
    """Days until its sunset, negative when it has passed; None: not decided."""


def advise(version: Weighed, others: list[Weighed], days: int) -> tuple[Advice, str]:
    """The recommendation for ``version`` and its reason. ``others``: the model's other versions
    that are not retired; traffic is that of the last ``days``."""
    if version.aliases:
        names = ", ".join(repr(name) for name in version.aliases)
        return "keep", f"the label {names} leads its traffic here"
    match version.state:
        case "deprecated":
            return _deprecated(version, days)
        case "published":
            return _published(version, others, days)
        case _:
            return _unpublished(version)


def _deprecated(version: Weighed, days: int) -> tuple[Advice, str]:
    if not version.requests:
        return (
            "retire",
            f"it is deprecated and nobody has called it for {days} days{_held(version)}",
        )
    calling = f"it is still called ({version.requests} times) by {_applications(version)}"
    if version.sunset_days is None:
        return "keep", f"{calling}, and no sunset is decided: give it one"
    if version.sunset_days <= 0:
        return "retire", f"its sunset has passed; {calling}: the transition report names them"
    return "keep", f"{calling}; its sunset is in {version.sunset_days} days"


def _published(version: Weighed, others: list[Weighed], days: int) -> tuple[Advice, str]:
    if not version.requests:
        if version.age_days < YOUNG_DAYS:
            return "keep", f"nobody calls it, but it is only {version.age_days} days old"
        return "deprecate", f"nobody has called it for {days} days{_held(version)}"
    better = [other for other in others if other.state == "published" and _beats(other, version)]
    if better:
        best = max(better, key=lambda other: other.number)
        assert best.quality is not None
        assert version.quality is not None
        return "deprecate", (
            f"version {best.number} does better: {best.quality.metric} "
            f"{best.quality.value:.6g} against {version.quality.value:.6g}; "
            f"{_applications(version)} should move there"
        )
    return (
        "keep",
        f"it is called by {_applications(version)}, and no published version is known as better",
    )


def _unpublished(version: Weighed) -> tuple[Advice, str]:
    if version.age_days < YOUNG_DAYS:
        return "keep", f"it is {version.state}, and only {version.age_days} days old"
    return "retire", (
        f"it has been {version.state} for {version.age_days} days without being published: "
        "retiring it rejects it"
    )


def _held(version: Weighed) -> str:
    """What its end would give back, as the end of a sentence."""
    if not version.engines:
        return ""
    engines = "1 engine" if version.engines == 1 else f"{version.engines} engines"
    if version.memory_bytes is None:
        return f", and it holds {engines}"
    return f", and it holds {engines} with {version.memory_bytes / 1e6:.0f} MB of memory"


def _applications(version: Weighed) -> str:
    return "1 application" if version.callers == 1 else f"{version.callers} applications"


def _beats(other: Weighed, version: Weighed) -> bool:
    """Whether the intervals of the same metric lie apart, in the better direction; where there are
    none, the values."""
    one, two = other.quality, version.quality
    if one is None or two is None or one.metric != two.metric or one.smaller_is_better is None:
        return False
    if one.smaller_is_better:
        return (one.value if one.high is None else one.high) < (
            two.value if two.low is None else two.low
        )
    return (one.value if one.low is None else one.low) > (
        two.value if two.high is None else two.high
    )
