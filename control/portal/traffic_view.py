"""Charts of traffic, latency and limits, in the form that ``assets/charts.js`` draws. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from control.latency_report import LatencyReport
from control.refusals import LIMITS, RefusalReport
from control.usage_resources import UsageItem

Chart = dict[str, object]
MARGIN: Final = 1
"""Empty rows that a heat map shows around those that hold something."""
WORST: Final = 10
LEAST: Final = 20
"""Requests below which a version's p99 and share of errors say little."""


class VersionRow(msgspec.Struct, frozen=True):
    """A version among the slowest or the most failing."""

    model: str
    version: int
    requests: int
    errors: int
    share: float
    p50_ms: float | None
    p99_ms: float | None


class StatusRow(msgspec.Struct, frozen=True):
    """Answers of one status."""

    status: int
    requests: int
    share: float


class Totals(msgspec.Struct, frozen=True):
    """The range as a whole."""

    requests: int
    errors: int
    rows: int
    share: float
    """Of errors."""
    per_s: float


def totals(report: LatencyReport) -> Totals:
    """Sums over the columns."""
    requests = sum(one.requests for one in report.items)
    errors = sum(one.errors for one in report.items)
    seconds = max(len(report.items) * report.minutes * 60, 1)
    return Totals(
        requests,
        errors,
        sum(one.rows for one in report.items),
        errors / requests if requests else 0.0,
        requests / seconds,
    )


def requests_chart(report: LatencyReport) -> Chart:
    """Requests by the second, those that failed on top."""
    seconds = report.minutes * 60
    return {
        "x": [_unix(one.time) for one in report.items],
        "series": [
            {
                "label": "answered",
                "colour": 1,
                "values": [round((one.requests - one.errors) / seconds, 4) for one in report.items],
            },
            {
                "label": "errors",
                "colour": 5,
                "values": [round(one.errors / seconds, 4) for one in report.items],
            },
        ],
        "min": 0,
    }


def latency_chart(report: LatencyReport) -> Chart:
    """Median and p99."""
    return {
        "x": [_unix(one.time) for one in report.items],
        "series": [
            {"label": "median", "colour": 1, "values": [one.p50_ms for one in report.items]},
            {"label": "p99", "colour": 2, "values": [one.p99_ms for one in report.items]},
        ],
        "min": 0,
    }


def heat_map(report: LatencyReport) -> Chart:
    """Requests by time and latency: the rows that hold something, and one around them."""
    used = [
        at for at in range(len(report.edges_ms) + 1) if any(one.counts[at] for one in report.items)
    ]
    if not used:
        return {"x": [], "y": [], "values": []}
    first, last = max(used[0] - MARGIN, 0), min(used[-1] + MARGIN, len(report.edges_ms))
    labels = [f"≤ {_ms(edge)}" for edge in report.edges_ms] + [f"> {_ms(report.edges_ms[-1])}"]
    return {
        "x": [_unix(one.time) for one in report.items],
        "y": labels[first : last + 1],
        "values": [[one.counts[at] for one in report.items] for at in range(first, last + 1)],
        "label": "requests",
    }


def refusals_chart(report: RefusalReport) -> Chart:
    """Refused requests by the limit that refused them."""
    return {
        "x": [_unix(one.time) for one in report.items],
        "series": [
            {
                "label": name,
                "colour": colour,
                "values": [getattr(one, name) for one in report.items],
            }
            for colour, name in zip((1, 2, 4, 6), LIMITS, strict=True)
        ],
        "min": 0,
    }


def by_status(items: Sequence[UsageItem]) -> list[StatusRow]:
    """Statuses, the most frequent first."""
    whole = sum(one.requests for one in items) or 1
    rows = [StatusRow(one.status or 0, one.requests, one.requests / whole) for one in items]
    return sorted(rows, key=lambda row: -row.requests)


def slowest(items: Sequence[UsageItem]) -> list[VersionRow]:
    """The versions with the highest p99."""
    rows = [row for row in _rows(items) if row.p99_ms is not None]
    return sorted(rows, key=lambda row: -(row.p99_ms or 0.0))[:WORST]


def most_failing(items: Sequence[UsageItem]) -> list[VersionRow]:
    """The versions with the largest share of errors."""
    rows = [row for row in _rows(items) if row.errors]
    return sorted(rows, key=lambda row: (-row.share, -row.errors))[:WORST]


def _rows(items: Sequence[UsageItem]) -> list[VersionRow]:
    """Versions that were called often enough. What was refused before one was chosen is none's."""
    return [_row(one) for one in items if one.version and one.requests >= LEAST]


def _row(one: UsageItem) -> VersionRow:
    share = one.errors / one.requests if one.requests else 0.0
    return VersionRow(
        one.model or "", one.version or 0, one.requests, one.errors, share, one.p50_ms, one.p99_ms
    )


def _ms(value: float) -> str:
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"  # noqa: PLR2004


def _unix(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
