"""Writes the page of a stored result: ``python -m benchmarks.page RESULT.json``.

It makes ``docs/benchmarks.md`` and the picture that the page shows.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from benchmarks import chart
from benchmarks.measure import Summary
from benchmarks.report import Report, median_of
from benchmarks.systems import ROOT
from benchmarks.turns import Comparison

PAGE = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "assets" / "bench.svg"
COLUMNS = ("connections", "system", "req/s", "rows/s", "p50 ms", "p99 ms", "req/CPU-s", "ratio")
INTRODUCTION = """\
# Measured beside peers

What this page shows was measured by `make bench` in one run on one machine; how, and how to read
it, is in [what the benchmarks measure](explanation/benchmarks.md). Tollway has everything on: keys,
plan, usage records, metrics. *ratio* is Tollway's requests per CPU-second against the peer's, both
measured in that peer's turn, round by round. The row of Tollway is the median over all turns."""


def page(report: Report) -> str:
    """The page, as Markdown."""
    machine = report.machine
    conditions = (
        f"{machine.cpu}, {machine.cores} cores, {machine.system}, Python {machine.python}; "
        f"{machine.at[:10]}, commit {machine.commit}; load average "
        f"{machine.load_average[0]:.1f} before the run. Model: {report.model}."
    )
    lines = [
        INTRODUCTION,
        "",
        conditions,
        "",
        "![Requests per CPU-second of each system](assets/bench.svg)",
    ]
    for label in dict.fromkeys(one.label for one in report.comparisons):
        mine = [one for one in report.comparisons if one.label == label]
        lines += ["", f"## {label}", "", *_table(COLUMNS, _compared(mine))]
    for peer, why in report.absent.items():
        lines += ["", f"{peer} did not start on this machine, and is not measured: {why}"]
    lines += ["", "## Targets", ""]
    verdicts = (
        [verdict.target, verdict.measured, "met" if verdict.passed else "**missed**"]
        for verdict in report.verdicts
    )
    lines += _table(("target", "measured", ""), verdicts)
    if report.sizes:
        lines += ["", "## CPU of a request by the size of its body", ""]
        sizes = (
            [
                one.label,
                f"{one.gateway_ms:.3f}",
                f"{one.added_gateway_ms:.3f}",
                f"{one.engine_ms:.3f}",
            ]
            for one in report.sizes
        )
        lines += _table(("body", "gateway ms", "added ms", "engine ms"), sizes)
    if report.memory:
        lines += ["", "## Memory of the idle stack with two models", ""]
        lines += _table(
            ("role", "processes", "resident MB"),
            ([one.role, str(one.processes), f"{one.rss_mb:.1f}"] for one in report.memory),
        )
    return "\n".join(lines) + "\n"


def _compared(comparisons: list[Comparison]) -> Iterator[list[str]]:
    groups: dict[int, list[Comparison]] = {}
    for one in comparisons:
        groups.setdefault(one.connections, []).append(one)
    for connections, group in groups.items():
        for one in group:
            yield [str(connections), *_cells(one.theirs), f"{one.ratio:.1f}"]
        yield [str(connections), *_cells(median_of([one.ours for one in group])), ""]


def _cells(summary: Summary) -> list[str]:
    return [
        summary.system,
        f"{summary.requests_per_s:,.0f}",
        f"{summary.rows_per_s:,.0f}",
        f"{summary.p50_ms:.2f}",
        f"{summary.p99_ms:.2f}",
        f"{summary.requests_per_cpu_s:,.0f}",
    ]


def _table(columns: Iterable[str], rows: Iterable[list[str]]) -> list[str]:
    head = list(columns)
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def publish(report: Report, page_file: Path = PAGE, picture: Path = PICTURE) -> None:
    """Write the page and its picture."""
    page_file.write_text(page(report))
    chart.write(report, picture)


def main() -> None:
    """Write the page of a stored result."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.page RESULT.json")
    publish(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Report))


if __name__ == "__main__":
    main()
