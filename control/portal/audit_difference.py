"""What an audit entry changed, line by line, for people. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

MAX_LINES: Final = 400
MAX_VALUE: Final = 400
Change = Literal["added", "removed", "changed", "same"]


class Line(msgspec.Struct, frozen=True):
    """One value of the resource, by its place in it: ``rates.0.requests``."""

    place: str
    change: Change
    before: str
    after: str


class Difference(msgspec.Struct, frozen=True):
    """The values of a resource before and after; those that changed come first."""

    changed: list[Line]
    same: list[Line]
    further: int
    """Lines that are left out: the download has them."""


def difference(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Difference:
    """Compare a resource as it was and as it is; None where there is none."""
    was, now = dict(_flat("", before or {})), dict(_flat("", after or {}))
    lines = [
        Line(place, _change(place, was, now), was.get(place, ""), now.get(place, ""))
        for place in dict.fromkeys([*was, *now])
    ]
    changed = [line for line in lines if line.change != "same"]
    same = [line for line in lines if line.change == "same"]
    shown = changed[:MAX_LINES]
    rest = same[: MAX_LINES - len(shown)]
    return Difference(shown, rest, len(lines) - len(shown) - len(rest))


def _change(place: str, was: Mapping[str, str], now: Mapping[str, str]) -> Change:
    if place not in was:
        return "added"
    if place not in now:
        return "removed"
    return "same" if was[place] == now[place] else "changed"


def _flat(place: str, value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 -- JSON
    """Every value that is no container, and empty containers, with the place."""
    if isinstance(value, Mapping) and (value or not place):
        for name, one in value.items():
            yield from _flat(f"{place}.{name}" if place else str(name), one)
    elif isinstance(value, list) and value:
        for at, one in enumerate(value):
            yield from _flat(f"{place}.{at}", one)
    else:
        yield place, _text(value)


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else text[:MAX_VALUE] + "…"
