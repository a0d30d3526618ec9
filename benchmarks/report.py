"""The result of a benchmark run: its JSON, its verdicts, its tables."""

import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.measure import Round, Summary
from benchmarks.processes import Memory
from benchmarks.scenarios import SizeCost
from benchmarks.systems import HANDWRITTEN, TOLLWAY

JUDGED_CONNECTIONS = 32
TARGET_RATIO = 10.0
TARGET_ADDED_GATEWAY_MS = 1.0
TARGET_IDLE_MB = 600.0
WIDTH = 150


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One target and whether this run met it."""

    target: str
    measured: str
    passed: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run stores."""

    schema: str = "tollway.benchmark/1"
    machine: Machine
    parameters: dict[str, object]
    model: str
    request_bytes: int
    rounds: list[Round] = []
    summaries: list[Summary] = []
    sizes: list[SizeCost] = []
    memory: list[Memory] = []
    verdicts: list[Verdict] = []


def judge(
    summaries: list[Summary], sizes: list[SizeCost], memory: list[Memory], errors: int
) -> list[Verdict]:
    """The targets of the project against what was measured; only what was measured is judged."""
    verdicts = []
    found = {(s.system, s.connections): s for s in summaries}
    ours = found.get((TOLLWAY, JUDGED_CONNECTIONS))
    theirs = found.get((HANDWRITTEN, JUDGED_CONNECTIONS))
    if ours and theirs:
        ratio = ours.requests_per_cpu_s / theirs.requests_per_cpu_s
        verdicts += [
            Verdict(
                target=f"at {JUDGED_CONNECTIONS} connections at least {TARGET_RATIO:g} times the "
                f"requests per CPU-second of the hand-written service",
                measured=f"{ratio:.1f} times",
                passed=ratio >= TARGET_RATIO,
            ),
            Verdict(
                target=f"at {JUDGED_CONNECTIONS} connections a p99 below its p50",
                measured=f"{ours.p99_ms:.2f} ms against {theirs.p50_ms:.2f} ms",
                passed=ours.p99_ms < theirs.p50_ms,
            ),
        ]
    verdicts += [
        Verdict(
            target=f"{cost.label}: less than {TARGET_ADDED_GATEWAY_MS:g} ms of gateway CPU added",
            measured=f"{cost.added_gateway_ms:.3f} ms",
            passed=cost.added_gateway_ms < TARGET_ADDED_GATEWAY_MS,
        )
        for cost in sizes[1:]
    ]
    if memory:
        total = sum(role.rss_mb for role in memory)
        verdicts.append(
            Verdict(
                target=f"idle with two models: under {TARGET_IDLE_MB:g} MB resident in total",
                measured=f"{total:.0f} MB",
                passed=total < TARGET_IDLE_MB,
            )
        )
    verdicts.append(
        Verdict(
            target="every request answered, and every answer compared equal to scikit-learn's",
            measured=f"{errors} errors",
            passed=errors == 0,
        )
    )
    return verdicts


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
    if report.summaries:
        console.print(_comparison(report))
    if report.sizes:
        console.print(_sizes(report.sizes))
    if report.memory:
        console.print(_memory(report.memory))
    console.print(verdict_table(report.verdicts))


def _comparison(report: Report) -> Table:
    table = Table(title=f"{report.model}, one row a request, {report.request_bytes} bytes of JSON")
    table.add_column("connections", justify="right")
    table.add_column("system")
    for name in ("req/s", "p50 ms", "p99 ms", "p99.9 ms", "req/CPU-s", "range", "ratio"):
        table.add_column(name, justify="right")
    table.add_column("CPU share")
    base = {s.connections: s for s in report.summaries if s.system == HANDWRITTEN}
    last = None
    for row in report.summaries:
        reference = base.get(row.connections)
        ratio = row.requests_per_cpu_s / reference.requests_per_cpu_s if reference else None
        low, high = row.requests_per_cpu_s_range
        if last not in {None, row.connections}:
            table.add_section()
        last = row.connections
        table.add_row(
            str(row.connections),
            row.system,
            f"{row.requests_per_s:,.0f}",
            f"{row.p50_ms:.2f}",
            f"{row.p99_ms:.2f}",
            f"{row.p999_ms:.2f}",
            f"{row.requests_per_cpu_s:,.0f}",
            f"{low:,.0f}-{high:,.0f}",
            f"{ratio:.1f}" if ratio else "",
            ", ".join(f"{role} {share:.0%}" for role, share in row.cpu_share.items() if share > 0),
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
