"""``python -m benchmarks.usage``: times of usage reports, and the cost of taking usage in."""

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import psutil
import sqlalchemy as sa
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.interruption import end_on_sigterm
from benchmarks.machine import Machine
from benchmarks.report import make_console, store
from benchmarks.systems import ROOT
from benchmarks.usage.asking import Asking, Timed
from benchmarks.usage.cases import Case, every_case
from benchmarks.usage.generate import fill
from benchmarks.usage.ingestion import Ingestion, measure_ingestion
from benchmarks.usage.traffic import Scale
from control.store import schema
from control.store.usage_tables import (
    usage_blocks,
    usage_days,
    usage_hours,
    usage_minutes,
    usage_summaries,
)
from control.usage import MINUTE_MS
from registry.store.database import Database

LIMIT_MS = 300.0
"""What a report may take, whatever its range."""
NOW = datetime(2027, 1, 15, 10, 37, tzinfo=UTC)
TABLES = (usage_minutes, usage_hours, usage_days, usage_blocks, usage_summaries)


class UsageBenchmark(msgspec.Struct, frozen=True, kw_only=True):
    """What a run stores."""

    schema: str = "tollway.usage/2"
    machine: Machine
    database: str
    requests: int
    days: int
    rows: dict[str, int]
    reports: list[Timed]
    ingestion: list[Ingestion]
    passed: bool


def main(
    requests: Annotated[int, typer.Option(min=1000, help="Requests in the roll-ups.")] = 10_000_000,
    days: Annotated[int, typer.Option(min=1, max=112, help="Days that they are of.")] = 90,
    keep: Annotated[
        Path | None, typer.Option(help="SQLite file that is made once and used again.")
    ] = None,
    postgres: Annotated[
        bool, typer.Option("--postgres", help="On a PostgreSQL server that is started for it.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each report is asked for.")] = 3,
    every: Annotated[int, typer.Option(min=1, help="Ask only for one report of so many.")] = 1,
    output: Annotated[Path | None, typer.Option(help="Folder of the results.")] = ROOT
    / "benchmarks"
    / "results",
) -> None:
    """Fill a database with roll-ups, time reports over it, and the taking in of more."""
    end_on_sigterm()
    console = make_console()
    conditions = machine.describe()
    now_ms = int(NOW.timestamp() * 1000)
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tollway-usage-")))
        url, server = f"sqlite:///{keep or folder / 'usage.db'}", None
        if postgres:
            url, server = cleanup.enter_context(_postgres())
        database = Database(url)
        cleanup.callback(database.close)
        if schema.upgrade(database) and not _rows(database, usage_days):
            _fill(console, database, Scale(requests=requests, days=days), now_ms // MINUTE_MS - 6)
        asking = Asking(database, url, folder / "data", NOW, lambda: cpu_seconds(server))
        with console.status("asking") as status:

            def told(case: Case) -> None:
                status.update(f"asking: {case.viewer} {case.span} {case.step} {case.by}")

            reports = asking.measure(list(every_case())[::every], rounds, told)
        result = UsageBenchmark(
            machine=conditions,
            database="sqlite" if database.is_sqlite else "postgresql",
            requests=requests,
            days=days,
            rows={table.name: _rows(database, table) for table in TABLES},
            reports=reports,
            ingestion=measure_ingestion(database, now_ms),
            passed=all(report.cpu_ms < LIMIT_MS for report in reports),
        )
    show(console, result)
    if output is not None:
        stored = machine.result_path(output, conditions, f"usage-{result.database}")
        store(stored, result)
        console.print(f"stored in {stored.name}")
    sys.exit(0 if result.passed else 1)


@contextlib.contextmanager
def _postgres() -> Iterator[tuple[str, psutil.Process]]:
    """URL of an empty database on a server of its own, and that server's first process."""
    # The wheel is a development requirement; the benchmark on SQLite does without it.
    from tests.fixtures.postgres import PostgresServer  # noqa: PLC0415

    # A short path: a Unix socket's name has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="tollway-pg-", dir="/tmp") as folder:
        server = PostgresServer(Path(folder))
        server.start()
        try:
            pid = int((Path(folder) / "data" / "postmaster.pid").read_text().split()[0])
            server.execute("CREATE DATABASE usage")
            yield server.url("usage"), psutil.Process(pid)
        finally:
            server.stop()


def cpu_seconds(server: psutil.Process | None) -> float:
    """CPU time of this process, and of the processes of a database server."""
    spent = time.process_time()
    if server is not None:
        for process in server.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                spent += times.user + times.system
    return spent


def _fill(console: Console, database: Database, scale: Scale, end_minute: int) -> None:
    begin = time.perf_counter()
    with console.status("making roll-ups") as status:
        for what in fill(database, scale, end_minute):
            status.update(f"making roll-ups: {what}")
    console.print(f"roll-ups made in {time.perf_counter() - begin:.0f} s")


def _rows(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def show(console: Console, result: UsageBenchmark) -> None:
    """Print the tables."""
    title = f"Usage reports over {result.requests:,} requests in {result.days} days"
    table = Table(title=f"{title}, {result.database}")
    for name in ("of", "span", "step"):
        table.add_column(name)
    for name in ("reports", "CPU ms", "worst", "wall ms", "worst "):
        table.add_column(name, justify="right")
    table.add_column("the worst is by")
    groups: dict[tuple[str, str, str], list[Timed]] = {}
    for report in result.reports:
        case = report.case
        groups.setdefault((case.filter or case.viewer, case.span, case.step or "-"), []).append(
            report
        )
    for place, reports in groups.items():
        worst = max(reports, key=lambda report: report.cpu_ms)
        table.add_row(
            *place,
            str(len(reports)),
            f"{statistics.median(report.cpu_ms for report in reports):.0f}",
            f"[{'green' if worst.cpu_ms < LIMIT_MS else 'red'}]{worst.cpu_ms:.0f}[/]",
            f"{statistics.median(report.wall_ms for report in reports):.0f}",
            f"{max(report.wall_ms for report in reports):.0f}",
            f"{worst.case.by or '-'} ({worst.items:,})",
        )
    console.print(table)
    over = [report for report in result.reports if report.cpu_ms >= LIMIT_MS]
    console.print(
        f"{len(result.reports):,} reports, {len(over)} of them not below {LIMIT_MS:.0f} ms of CPU"
    )
    console.print("rows: " + ", ".join(f"{name} {n:,}" for name, n in result.rows.items()))
    for one in result.ingestion:
        console.print(
            f"taking in, {one.name}: {one.cpu_ms_per_10k:.0f} ms CPU per 10,000 records "
            f"(batches of {one.batch})"
        )


if __name__ == "__main__":
    typer.run(main)
