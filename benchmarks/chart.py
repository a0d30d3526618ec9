"""Draws a result as plain SVG, without a library."""

from html import escape
from pathlib import Path

from benchmarks.measure import Summary
from benchmarks.report import Report, median_of
from benchmarks.systems import TOLLWAY
from benchmarks.targets import JUDGED
from benchmarks.turns import Comparison

OURS_COLOUR = "#2f6fdb"
OTHER_COLOUR = "#9aa5b1"
WIDTH = 800
LABEL_WIDTH = 225
VALUE_WIDTH = 250
BAR = 20
GAP = 6
GROUP_GAP = 18
TOP = 58
FOOT = 46
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}"
    ".title{font-size:16px;font-weight:600}.note{font-size:11px;fill:#666}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.note{fill:#999}}"
)


def bars(report: Report) -> str:
    """Requests per CPU-second of each system with one row of JSON, grouped by connections, as an
    SVG document. Beside each peer: how many times as many Tollway made in the peer's turn."""
    groups: dict[int, list[Comparison]] = {}
    for one in report.comparisons:
        if one.label == JUDGED:
            groups.setdefault(one.connections, []).append(one)
    ours = {number: median_of([one.ours for one in group]) for number, group in groups.items()}
    shown = [one.theirs for group in groups.values() for one in group] + list(ours.values())
    largest = max((summary.requests_per_cpu_s for summary in shown), default=1.0)
    scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH) / largest
    parts = [
        '<text class="title" x="0" y="20">Requests per CPU-second (higher is better)</text>',
        f'<text class="note" x="0" y="40">{escape(_subtitle(report))}</text>',
    ]
    y = TOP
    for number, group in groups.items():
        words = "1 connection" if number == 1 else f"{number} connections"
        parts.append(f'<text class="note" x="0" y="{y + BAR - 6}">{words}</text>')
        y += BAR
        for one in sorted(group, key=lambda one: one.theirs.requests_per_cpu_s):
            parts += _bar(one.theirs, y, scale, f" (Tollway beside it: {one.ratio:.1f}\u00d7)")
            y += BAR + GAP
        parts += _bar(ours[number], y, scale, "")
        y += BAR + GAP + GROUP_GAP
    foot = (
        "User and system time of every server process; the load generator is not counted. "
        "Medians of interleaved rounds."
    )
    parts.append(f'<text class="note" x="0" y="{y + 14}">{escape(foot)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + FOOT}" role="img" '
        f'aria-label="Requests per CPU-second by system and connections">'
        f"<style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )


def _bar(summary: Summary, y: int, scale: float, remark: str) -> list[str]:
    value = summary.requests_per_cpu_s
    width = max(1.0, value * scale)
    fill = f'rx="3" fill="{OURS_COLOUR if summary.system == TOLLWAY else OTHER_COLOUR}"'
    text = y + BAR - 6
    return [
        f'<text x="{LABEL_WIDTH - 8}" y="{text}" text-anchor="end">{escape(summary.system)}</text>',
        f'<rect x="{LABEL_WIDTH}" y="{y}" width="{width:.1f}" height="{BAR}" {fill}/>',
        f'<text x="{LABEL_WIDTH + width + 6:.1f}" y="{text}">{value:,.0f}{escape(remark)}</text>',
    ]


def _subtitle(report: Report) -> str:
    machine = report.machine
    return (
        f"{report.model}; {machine.cpu}, {machine.cores} cores; "
        f"{machine.at[:10]}, commit {machine.commit}"
    )


def write(report: Report, path: Path) -> None:
    """Write the picture of ``report``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bars(report))
