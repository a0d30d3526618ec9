"""``python -m benchmarks.usage``: times of usage reports, and the cost of taking usage in."""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import sqlalchemy as sa
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.interruption import end_on_sigterm
from benchmarks.machine import Machine
from benchmarks.report import make_console, store
from benchmarks.systems import ROOT
from benchmarks.usage.generate import Scale, fill
from benchmarks.usage.ingestion import Ingestion, measure_ingestion
from control.reach import Reach
from control.store import schema
from control.store.usage_reading import UsageReports
from control.store.usage_tables import (
    usage_blocks,
    usage_days,
    usage_hours,
    usage_minutes,
    usage_summaries,
)
from control.usage import MINUTE_MS
from control.usage_report import parse_query
from control.usage_tiers import Dimension, Step
from registry.store.database import Database

LIMIT_MS = 300.0
"""What a report may take, whatever its range."""
PAGE = 1_000
"""What a page has unless more is asked for."""
ADMIN = Reach()
TENANT = Reach("consumer-3", frozenset({"model-3"}))
"""Reaches one model of fifty and the applications of one consumer."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of report, and how long it took."""

    span: str
    by: str
    step: str
    who: str
    items: int
    median_ms: float
    worst_ms: float
    cpu_ms: float
    """Of one report: the figure to go by on a busy machine."""


class UsageBenchmark(msgspec.Struct, frozen=True, kw_only=True):
    """What a run stores."""

    schema: str = "tollway.usage/1"
    machine: Machine
    database: str
    requests: int
    days: int
    rows: dict[str, int]
    reports: list[Report]
    ingestion: list[Ingestion]
    passed: bool


CASES: list[tuple[str, timedelta, str, Step | None, dict[Dimension, str | int | None], Reach]] = [
    *[
        (span, length, by, None, {}, ADMIN)
        for span, length in (
            ("1 h", timedelta(hours=1)),
            ("24 h", timedelta(days=1)),
            ("30 d", timedelta(days=30)),
            ("90 d", timedelta(days=90, minutes=-17)),
        )
        for by in ("", "application", "model,version,status", "application,key,model,status")
    ],
    ("24 h", timedelta(days=1), "", "minute", {}, ADMIN),
    ("24 h", timedelta(days=1), "application", "hour", {}, ADMIN),
    ("30 d", timedelta(days=30), "", "hour", {}, ADMIN),
    ("30 d", timedelta(days=30), "model,version,status", "day", {}, ADMIN),
    ("30 d", timedelta(days=30), "application", "day", {}, ADMIN),
    ("90 d", timedelta(days=90), "", "hour", {}, ADMIN),
    ("90 d", timedelta(days=90), "status", "hour", {}, ADMIN),
    ("90 d", timedelta(days=90), "application", "day", {}, ADMIN),
    ("90 d", timedelta(days=90), "application", "hour", {}, ADMIN),
    ("90 d", timedelta(days=90), "model", "hour", {"application": "application-1"}, ADMIN),
    ("90 d", timedelta(days=90), "application,model", "day", {}, TENANT),
    ("14 d", timedelta(days=14), "", "minute", {}, ADMIN),
]


def main(
    requests: Annotated[int, typer.Option(min=1000, help="Requests in the roll-ups.")] = 10_000_000,
    keep: Annotated[
        Path | None, typer.Option(help="SQLite file that is made once and used again.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each report is asked for.")] = 5,
    output: Annotated[Path | None, typer.Option(help="Folder of the results.")] = ROOT
    / "benchmarks"
    / "results",
) -> None:
    """Fill a database with roll-ups, time reports over it, and the taking in of more."""
    end_on_sigterm()
    console = make_console()
    conditions = machine.describe()
    now_ms = int(datetime(2027, 1, 15, 10, 37, tzinfo=UTC).timestamp() * 1000)
    with tempfile.TemporaryDirectory(prefix="tollway-usage-") as folder:
        path = keep or Path(folder) / "usage.db"
        database = Database(f"sqlite:///{path}")
        if schema.upgrade(database):
            _fill(console, database, Scale(requests=requests), now_ms // MINUTE_MS + 1)
        reports = [_timed(UsageReports(database), case, now_ms, rounds) for case in CASES]
        result = UsageBenchmark(
            machine=conditions,
            database="sqlite" if database.is_sqlite else "postgresql",
            requests=requests,
            days=Scale().days,
            rows={
                table.name: _rows(database, table)
                for table in (usage_minutes, usage_hours, usage_days, usage_blocks, usage_summaries)
            },
            reports=reports,
            ingestion=measure_ingestion(database, now_ms),
            passed=all(report.median_ms < LIMIT_MS for report in reports),
        )
        database.close()
    show(console, result)
    if output is not None:
        stored = machine.result_path(output, conditions, f"usage-{result.database}")
        store(stored, result)
        console.print(f"stored in {stored.name}")
    sys.exit(0 if result.passed else 1)


def _fill(console: Console, database: Database, scale: Scale, end_minute: int) -> None:
    with console.status("making roll-ups") as status:
        for what in fill(database, scale, end_minute // 60 * 60):
            status.update(f"making roll-ups: {what}")


def _rows(database: Database, table: sa.Table) -> int:
    with database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _timed(
    reports: UsageReports,
    case: tuple[str, timedelta, str, Step | None, dict[Dimension, str | int | None], Reach],
    now_ms: int,
    rounds: int,
) -> Report:
    span, length, by, step, only, reach = case
    end = datetime.fromtimestamp(now_ms / 1000, UTC)
    query = parse_query(end - length, end, by, step, now_ms, only)
    spent = time.process_time()
    times, items = _repeated(lambda: len(reports.page(reach, query, PAGE).items), rounds)
    who = "tenant" if reach is not ADMIN else ",".join(map(str, only.values())) or "admin"
    return Report(
        span=span,
        by=by or "-",
        step=step or "-",
        who=who,
        items=items,
        median_ms=statistics.median(times),
        worst_ms=max(times),
        cpu_ms=(time.process_time() - spent) * 1000 / rounds,
    )


def _repeated(run: Callable[[], int], rounds: int) -> tuple[list[float], int]:
    times, items = [], 0
    for _ in range(rounds):
        begin = time.perf_counter()
        items = run()
        times.append((time.perf_counter() - begin) * 1000)
    return times, items


def show(console: Console, result: UsageBenchmark) -> None:
    """Print the tables."""
    title = f"Usage reports over {result.requests:,} requests in {result.days} days"
    table = Table(title=f"{title}, {result.database}")
    for name in ("span", "by", "step", "of"):
        table.add_column(name)
    for name in ("items", "median ms", "worst ms", "CPU ms"):
        table.add_column(name, justify="right")
    for report in result.reports:
        colour = "green" if report.median_ms < LIMIT_MS else "red"
        table.add_row(
            report.span,
            report.by,
            report.step,
            report.who,
            f"{report.items:,}",
            f"[{colour}]{report.median_ms:.0f}[/]",
            f"{report.worst_ms:.0f}",
            f"{report.cpu_ms:.0f}",
        )
    console.print(table)
    console.print("rows: " + ", ".join(f"{name} {n:,}" for name, n in result.rows.items()))
    for one in result.ingestion:
        console.print(
            f"taking in, {one.name}: {one.cpu_ms_per_10k:.0f} ms CPU per 10,000 records "
            f"(batches of {one.batch})"
        )


if __name__ == "__main__":
    typer.run(main)
