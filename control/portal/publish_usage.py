"""Calls of a model by version, as its pages show them. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from control.usage_resources import UsageItem, UsagePage

MAX_SERIES: Final = 6
"""Colours that charts have."""
HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S


class Calls(msgspec.Struct, frozen=True):
    """What was called within the time that is shown."""

    requests: int = 0
    errors: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None


def calls_by_version(usage: UsagePage) -> dict[int, Calls]:
    """Version -> its calls."""
    return {
        item.version: Calls(item.requests, item.errors, item.p50_ms, item.p99_ms)
        for item in usage.items
        if item.version is not None
    }


class Caller(msgspec.Struct, frozen=True):
    """An application, with its calls of each version."""

    application: str
    requests: int
    versions: list[tuple[int, Calls]]


def callers(usage: UsagePage) -> list[Caller]:
    """The applications on the page, the busiest first."""
    found: dict[str, list[tuple[int, Calls]]] = {}
    for item in usage.items:
        calls = Calls(item.requests, item.errors, item.p50_ms, item.p99_ms)
        found.setdefault(item.application or "", []).append((item.version or 0, calls))
    made = [
        Caller(name, sum(calls.requests for _, calls in versions), versions)
        for name, versions in found.items()
    ]
    return sorted(made, key=lambda one: -one.requests)


def hourly(usage: UsagePage, now_ms: int) -> dict[str, object] | None:
    """Requests of the last day by hour and version, as ``assets/charts.js`` takes them: the busiest
    versions, every hour, also those in which nobody called. None where nobody did at all."""
    totals: dict[int, int] = {}
    for item in _known(usage.items):
        totals[item.version or 0] = totals.get(item.version or 0, 0) + item.requests
    if not totals:
        return None
    chosen = sorted(sorted(totals, key=lambda one: -totals[one])[:MAX_SERIES])
    this_hour = now_ms // 1000 // HOUR_S * HOUR_S
    at = list(range(this_hour - DAY_S, this_hour + HOUR_S, HOUR_S))
    place = {moment: index for index, moment in enumerate(at)}
    values: dict[int, list[int]] = {version: [0] * len(at) for version in chosen}
    for item in _known(usage.items):
        where = place.get(_seconds(item))
        if where is not None and item.version in values:
            values[item.version][where] += item.requests
    series = [{"label": f"v{version}", "values": values[version]} for version in chosen]
    return {"x": at, "series": series, "min": 0}


def _known(items: Iterable[UsageItem]) -> list[UsageItem]:
    return [item for item in items if item.version is not None and item.time is not None]


def _seconds(item: UsageItem) -> int:
    assert item.time is not None
    return int(datetime.fromisoformat(item.time).timestamp())
