"""How a benchmark with targets ends: stored, shown, and exit 1 where that is asked for."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from benchmarks.report import store, verdict_table
from benchmarks.systems import ROOT
from benchmarks.targets import Verdict

RESULTS = ROOT / "benchmarks" / "results"
Output = Annotated[Path, typer.Option(help="Folder of the results.")]
Check = Annotated[bool, typer.Option(help="Exit 1 when a target is missed.")]


def conclude(console: Console, path: Path, report: msgspec.Struct, verdicts: list[Verdict]) -> bool:
    """Store ``report``, show the targets. Whether all are met."""
    store(path, report)
    console.print(verdict_table(verdicts))
    return all(verdict.passed for verdict in verdicts)
