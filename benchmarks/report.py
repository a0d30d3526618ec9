"""The result of a benchmark run: its JSON, its verdicts, its tables."""

import statistics
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.measure import Round, Summary
from benchmarks.processes import Memory
from benchmarks.scenarios import LoopRound, SizeCost
from benchmarks.systems import TOLLWAY
from benchmarks.targets import Verdict
from benchmarks.turns import Comparison

WIDTH = 150


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run stores."""

    schema: str = "tollway.benchmark/2"
    machine: Machine
    parameters: dict[str, object]
    model: str
    request_bytes: int
    rounds: list[Round] = []
    comparisons: list[Comparison] = []
    loops: list[LoopRound] = []
    sizes: list[SizeCost] = []
    memory: list[Memory] = []
    absent: dict[str, str] = {}
    """Peers that did not start here, and why."""
    verdicts: list[Verdict] = []


def store(path: Path, report: msgspec.Struct) -> None:
    """Write ``report`` as indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def make_console() -> Console:
    """A console that is wide enough for the tables where it is not a terminal."""
    return Console() if sys.stdout.isatty() else Console(width=WIDTH)


def show(console: Console, report: Report) -> None:
    """Print the tables."""
    machine = report.machine
    console.print(
        f"\n{machine.cpu}, {machine.cores} cores, {machine.system}, Python {machine.python}, "
        f"commit {machine.commit}{' (with changes)' if machine.dirty else ''}, "
        f"load average {machine.load_average[0]:.1f} before the run"
    )
    for label in dict.fromkeys(one.label for one in report.comparisons):
        console.print(_comparison(label, report))
    for peer, why in report.absent.items():
        console.print(f"not measured: {peer}: {why}", markup=False)
    if report.loops:
        console.print(_loops(report.loops))
    if report.sizes:
        console.print(_sizes(report.sizes))
    if report.memory:
        console.print(_memory(report.memory))
    console.print(verdict_table(report.verdicts))


def _comparison(label: str, report: Report) -> Table:
    table = Table(title=f"{report.model}: {label}")
    table.add_column("connections", justify="right")
    table.add_column("system")
    for name in ("req/s", "rows/s", "p50 ms", "p99 ms", "req/CPU-s", "range", "Tollway beside it"):
        table.add_column(name, justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("CPU share")
    groups: dict[int, list[Comparison]] = {}
    for one in report.comparisons:
        if one.label == label:
            groups.setdefault(one.connections, []).append(one)
    for connections, group in groups.items():
        for one in group:
            beside = f"{one.ours.requests_per_cpu_s:,.0f}"
            table.add_row(
                str(connections),
                *_cells(one.theirs),
                beside,
                f"{one.ratio:.1f}",
                _shares(one.theirs),
            )
        ours = median_of([one.ours for one in group])
        table.add_row(str(connections), *_cells(ours), "", "", _shares(ours), style="bold")
        table.add_section()
    return table


def median_of(summaries: list[Summary]) -> Summary:
    """Tollway over all turns of a workload at one number of connections."""
    first = summaries[0]

    def middle(name: str) -> float:
        return float(statistics.median(getattr(summary, name) for summary in summaries))

    return msgspec.structs.replace(
        first,
        turn="",
        rounds=sum(summary.rounds for summary in summaries),
        requests_per_s=middle("requests_per_s"),
        rows_per_s=middle("rows_per_s"),
        p50_ms=middle("p50_ms"),
        p99_ms=middle("p99_ms"),
        p999_ms=middle("p999_ms"),
        requests_per_cpu_s=middle("requests_per_cpu_s"),
        requests_per_cpu_s_range=(
            min(summary.requests_per_cpu_s_range[0] for summary in summaries),
            max(summary.requests_per_cpu_s_range[1] for summary in summaries),
        ),
        errors=sum(summary.errors for summary in summaries),
    )


def _cells(row: Summary) -> list[str]:
    low, high = row.requests_per_cpu_s_range
    return [
        row.system,
        f"{row.requests_per_s:,.0f}",
        f"{row.rows_per_s:,.0f}",
        f"{row.p50_ms:.2f}",
        f"{row.p99_ms:.2f}",
        f"{row.requests_per_cpu_s:,.0f}",
        f"{low:,.0f}-{high:,.0f}",
    ]


def _shares(row: Summary) -> str:
    if row.system != TOLLWAY:
        return ""
    return ", ".join(
        f"{role} {share:.0%}" for role, share in row.cpu_share.items() if share >= 0.01
    )


def _loops(loops: list[LoopRound]) -> Table:
    table = Table(title="1,000 rows a request, binary, beside ONNX Runtime in a loop")
    for name in ("loop rows/s", "Tollway rows/s", "share", "loop rows/CPU-s", "engine rows/CPU-s"):
        table.add_column(name, justify="right")
    for one in loops:
        table.add_row(
            f"{one.loop.rows_per_s:,.0f}",
            f"{one.rows_per_s:,.0f}",
            f"{one.share:.0%}",
            f"{one.loop.rows_per_cpu_s:,.0f}",
            f"{one.rows_per_engine_cpu_s:,.0f}",
        )
    return table


def _sizes(sizes: list[SizeCost]) -> Table:
    table = Table(title="CPU per request by size of the body")
    table.add_column("body")
    for name in ("bytes", "requests", "gateway ms", "added ms", "engine ms", "p50 ms"):
        table.add_column(name, justify="right")
    for cost in sizes:
        table.add_row(
            cost.label,
            f"{cost.body_bytes:,}",
            f"{cost.requests:,}",
            f"{cost.gateway_ms:.3f}",
            f"{cost.added_gateway_ms:.3f}",
            f"{cost.engine_ms:.3f}",
            f"{cost.p50_ms:.2f}",
        )
    return table


def _memory(memory: list[Memory]) -> Table:
    table = Table(title="Idle memory with two models")
    table.add_column("role")
    for name in ("processes", "RSS MB", "PSS MB"):
        table.add_column(name, justify="right")
    for role in memory:
        pss = "" if role.pss_mb is None else f"{role.pss_mb:.1f}"
        table.add_row(role.role, str(role.processes), f"{role.rss_mb:.1f}", pss)
    table.add_section()
    shares = [role.pss_mb for role in memory if role.pss_mb is not None]
    table.add_row(
        "total",
        str(sum(role.processes for role in memory)),
        f"{sum(role.rss_mb for role in memory):.1f}",
        f"{sum(shares):.1f}" if shares else "",
    )
    return table


def verdict_table(verdicts: list[Verdict]) -> Table:
    """The targets and PASS or FAIL."""
    table = Table(title="Targets")
    for name in ("target", "measured", ""):
        table.add_column(name)
    for verdict in verdicts:
        mark = "[green]PASS[/]" if verdict.passed else "[red]FAIL[/]"
        table.add_row(verdict.target, verdict.measured, mark)
    return table
