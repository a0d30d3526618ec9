"""Whether memory grows: ``python -m benchmarks.endurance``.

Twenty million requests go through the whole stack, in rounds; after each round, when what was put
off is done, the memory of every role is read. What a role holds after the first million it may
keep, and little more: a leak of one byte in a request would be 20 MB at the end.
"""

import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import Progress

from benchmarks import machine
from benchmarks.interruption import end_on_sigterm
from benchmarks.judged import RESULTS, Check, Output, conclude
from benchmarks.measure import run_load, spec_for
from benchmarks.models import CLASSIFIER, train_classifier
from benchmarks.processes import Memory, memory_by_role
from benchmarks.report import make_console
from benchmarks.systems import stack
from benchmarks.targets import ON_THE_PATH, Verdict
from benchmarks.workloads import Workload, exchanges

MILLION = 1_000_000
ROUND_S = 600.0
"""Bound on a round, whatever its requests."""
SETTLE_S = 10.0
"""Longer than usage waits to be shipped and taken in."""
GROWTH = 0.05
"""Share that a role may gain on what it had after the first million: allocators fragment."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """The memory after so many requests."""

    requests: int
    errors: int
    seconds: float
    memory: list[Memory]

    def rss_mb(self, role: str) -> float:
        """Resident memory of a role."""
        return sum(one.rss_mb for one in self.memory if one.role == role)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run stores."""

    schema: str = "tollway.benchmark.endurance/1"
    machine: machine.Machine
    stages: list[Stage]
    verdicts: list[Verdict]


def judge(stages: list[Stage]) -> list[Verdict]:
    """Growth since the first million, by role; and that everything was answered."""
    first = next((one for one in stages if one.requests >= MILLION), stages[0])
    last = stages[-1]
    verdicts = []
    for role in ON_THE_PATH:
        before, after = first.rss_mb(role), last.rss_mb(role)
        verdicts.append(
            Verdict(
                target=f"{role}: no growth from {first.requests:,} to {last.requests:,} requests",
                measured=f"{before:.1f} MB, then {after:.1f} MB",
                passed=after <= before * (1 + GROWTH),
            )
        )
    errors = sum(one.errors for one in stages)
    verdicts.append(
        Verdict(target="every request answered", measured=f"{errors} errors", passed=not errors)
    )
    return verdicts


def run(requests: int, connections: int, each: int) -> list[Stage]:
    """Load the stack until ``requests`` are answered, ``each`` a round."""
    trained = train_classifier()
    asked = exchanges(trained, Workload(rows=1, binary=False))
    stages: list[Stage] = []
    done = 0
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tollway-bench-")))
        tollwayd = cleanup.enter_context(stack(folder))
        client = cleanup.enter_context(contextlib.closing(tollwayd.client()))
        client.deploy(trained.estimator, name=CLASSIFIER, X=trained.X, y=trained.y)
        served = tollwayd.served(client, CLASSIFIER)
        progress = cleanup.enter_context(Progress(console=make_console()))
        bar = progress.add_task("requests", total=requests)
        while done < requests:
            spec = msgspec.structs.replace(
                spec_for(served, asked, connections=connections, seconds=ROUND_S),
                max_requests=min(each, requests - done),
                sample_every=1000,
            )
            began = time.monotonic()
            result = run_load(spec)
            took = time.monotonic() - began
            time.sleep(SETTLE_S)
            done += sum(result.statuses.values())
            stages.append(
                Stage(
                    requests=done,
                    errors=result.errors,
                    seconds=took,
                    memory=memory_by_role(tollwayd.pid),
                )
            )
            shown = ", ".join(f"{one.role} {one.rss_mb:.0f} MB" for one in stages[-1].memory)
            progress.update(bar, completed=done, description=shown)
            if not result.answered:
                raise RuntimeError(f"nothing is answered: {result.first_failure}")
    return stages


def main(
    *,
    requests: Annotated[int, typer.Option(min=1000, help="In all.")] = 20 * MILLION,
    connections: Annotated[int, typer.Option(min=1, help="Connections.")] = 128,
    each: Annotated[int, typer.Option(min=1000, help="Requests of a round.")] = MILLION,
    output: Output = RESULTS,
    check: Check = False,
) -> None:
    """Send requests for a long time, and store what memory does."""
    end_on_sigterm()
    console = make_console()
    conditions = machine.describe()
    try:
        stages = run(requests, connections, each)
    except KeyboardInterrupt:
        console.print("stopped; nothing stored")
        sys.exit(130)
    report = Report(machine=conditions, stages=stages, verdicts=judge(stages))
    path = machine.result_path(output, conditions, "endurance")
    met = conclude(console, path, report, report.verdicts)
    if check and not met:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
