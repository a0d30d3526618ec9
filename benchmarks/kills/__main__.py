"""``python -m benchmarks.kills``: kill processes under load, count what clients saw."""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

import tollway
from benchmarks import machine
from benchmarks.interruption import end_on_sigterm
from benchmarks.kills.scenarios import SCENARIOS
from benchmarks.kills.trial import Bench, KillResult
from benchmarks.machine import Machine
from benchmarks.models import train_classifier
from benchmarks.report import make_console, store
from benchmarks.systems import ROOT


class KillReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run stores."""

    schema: str = "tollway.kills/1"
    machine: Machine
    seconds: float
    results: list[KillResult]


def main(
    only: Annotated[str, typer.Option(help="Tests to run, by comma.")] = ",".join(SCENARIOS),
    seconds: Annotated[float, typer.Option(min=4.0, max=60.0, help="Load of each test.")] = 8.0,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = ROOT
    / "benchmarks"
    / "results",
) -> None:
    """Kill engines, workers, control and gateways under load; exit 1 when a guarantee broke."""
    end_on_sigterm()
    console = make_console()
    names = only.split(",")
    if unknown := [name for name in names if name not in SCENARIOS]:
        console.print(f"no such kill test: {unknown[0]}; there are {', '.join(SCENARIOS)}")
        sys.exit(2)
    conditions = machine.describe()
    trained = train_classifier()
    results = []
    try:
        for name in names:
            with (
                console.status(f"kill test: {name}"),
                tempfile.TemporaryDirectory(prefix="tollway-kill-") as folder,
            ):
                results.append(SCENARIOS[name](Bench(Path(folder), trained, seconds)))
    except KeyboardInterrupt:
        console.print("stopped; nothing stored")
        sys.exit(130)
    except (OSError, RuntimeError, tollway.TollwayError) as error:
        console.print("\n".join([str(error), *getattr(error, "__notes__", [])]), markup=False)
        sys.exit(1)
    report = KillReport(machine=conditions, seconds=seconds, results=results)
    path = machine.result_path(output, conditions, "kills")
    store(path, report)
    show(console, report)
    console.print(f"stored in {path.name}")
    sys.exit(0 if all(result.passed for result in results) else 1)


def show(console: Console, report: KillReport) -> None:
    """Print the table."""
    table = Table(title="Kill tests")
    table.add_column("test")
    for name in ("answered", "errors", "of these lost", "gap ms", "acknowledged", "in usage"):
        table.add_column(name, justify="right")
    table.add_column("missing, doubled", justify="right")
    table.add_column("")
    for result in report.results:
        account = result.account
        table.add_row(
            result.name,
            f"{result.answered:,}",
            str(result.errors),
            str(result.broken),
            f"{result.longest_gap_ms:,.0f}",
            f"{account.acknowledged:,}",
            f"{account.reported:,}",
            f"{account.missing}, {account.doubled}",
            "[green]PASS[/]" if result.passed else "[red]FAIL[/]",
        )
    console.print(table)
    for result in report.results:
        if result.first_failure:
            console.print(f"{result.name}: first failure: {result.first_failure}", markup=False)


if __name__ == "__main__":
    typer.run(main)
