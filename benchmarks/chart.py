"""Draws a result: ``python -m benchmarks.chart RESULT.json OUT.svg``. Plain SVG, no library."""

import sys
from html import escape
from pathlib import Path

import msgspec

from benchmarks.measure import Summary
from benchmarks.report import Report
from benchmarks.systems import HANDWRITTEN, HANDWRITTEN_TUNED, TOLLWAY

COLOURS = {HANDWRITTEN: "#9aa5b1", HANDWRITTEN_TUNED: "#c5ccd3", TOLLWAY: "#2f6fdb"}
OTHER_COLOUR = "#999999"
WIDTH = 800
LABEL_WIDTH = 225
VALUE_WIDTH = 130
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
    """Requests per CPU-second of each system, grouped by connections, as an SVG document."""
    groups: dict[int, list[Summary]] = {}
    for summary in report.summaries:
        groups.setdefault(summary.connections, []).append(summary)
    largest = max((s.requests_per_cpu_s for s in report.summaries), default=1.0)
    scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH) / largest
    parts = [
        '<text class="title" x="0" y="20">Requests per CPU-second (higher is better)</text>',
        f'<text class="note" x="0" y="40">{escape(_subtitle(report))}</text>',
    ]
    y = TOP
    for connections, group in groups.items():
        base = next((s.requests_per_cpu_s for s in group if s.system == HANDWRITTEN), 0.0)
        for summary in group:
            parts += _bar(summary, y, scale, base)
            y += BAR + GAP
        middle = y - (BAR + GAP) * len(group) / 2
        parts.append(f'<text class="note" x="0" y="{middle + 1:.0f}">{connections} conn.</text>')
        y += GROUP_GAP
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


def _bar(summary: Summary, y: int, scale: float, base: float) -> list[str]:
    value = summary.requests_per_cpu_s
    width = max(1.0, value * scale)
    ratio = f" ({value / base:.1f}\N{MULTIPLICATION SIGN})" if base else ""
    fill = f'rx="3" fill="{COLOURS.get(summary.system, OTHER_COLOUR)}"'
    text = y + BAR - 6
    return [
        f'<text x="{LABEL_WIDTH - 8}" y="{text}" text-anchor="end">{escape(summary.system)}</text>',
        f'<rect x="{LABEL_WIDTH}" y="{y}" width="{width:.1f}" height="{BAR}" {fill}/>',
        f'<text x="{LABEL_WIDTH + width + 6:.1f}" y="{text}">{value:,.0f}{ratio}</text>',
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


def main() -> None:
    """Draw a stored result."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m benchmarks.chart RESULT.json OUT.svg")
    report = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Report)
    write(report, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
