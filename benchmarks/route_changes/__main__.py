"""``python -m benchmarks.route_changes``: change routes under load, check every answer."""

import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import typer
from rich.progress import Progress

from benchmarks import machine
from benchmarks.interruption import end_on_sigterm
from benchmarks.judged import RESULTS, Check, Output, conclude
from benchmarks.machine import Machine
from benchmarks.report import make_console
from benchmarks.route_changes.changes import Changes
from benchmarks.route_changes.model import NAME, answering
from benchmarks.route_changes.traffic import Traffic
from benchmarks.systems import stack
from benchmarks.targets import Verdict

APPLICATIONS = 4
FOLLOWED_MS = 1000.0
ROLLBACK_MS = 1000.0


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds."""

    count: int
    p50: float
    p99: float
    most: float

    @classmethod
    def of(cls, found: list[float]) -> "Times":
        """Of what was measured."""
        ordered = sorted(found) or [0.0]
        last = len(ordered) - 1
        return cls(
            count=len(found),
            p50=ordered[last // 2],
            p99=ordered[round(last * 0.99)],
            most=ordered[last],
        )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run stores."""

    schema: str = "tollway.benchmark.route_changes/1"
    machine: Machine
    workers: int
    connections: int
    seconds: float
    changes: dict[str, int]
    change_ms: Times
    rollback_ms: Times
    followed_ms: Times
    not_followed: int
    requests: int
    by_variant: dict[str, int]
    failed: int
    misversioned: int
    first_failure: str
    verdicts: list[Verdict]


def judge(
    requests: int, failed: int, misversioned: int, followed: Times, rollback: Times, lost: int
) -> list[Verdict]:
    """The targets."""
    return [
        Verdict(
            target="no failed answer",
            measured=f"{failed} of {requests:,}",
            passed=not failed and requests > 0,
        ),
        Verdict(
            target="every answer is of the version that its header names",
            measured=f"{misversioned} are not",
            passed=not misversioned,
        ),
        Verdict(
            target="a change of route is followed within a second",
            measured=f"p50 {followed.p50:.0f} ms, at most {followed.most:.0f} ms; {lost} lost",
            passed=not lost and followed.most < FOLLOWED_MS,
        ),
        Verdict(
            target="a rollback takes less than a second",
            measured=f"p50 {rollback.p50:.0f} ms, at most {rollback.most:.0f} ms",
            passed=rollback.most < ROLLBACK_MS,
        ),
    ]


def run(changes: int, connections: int, workers: int) -> Report:
    """Change routes under load."""
    conditions = machine.describe()
    began = time.monotonic()
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tollway-bench-")))
        tollwayd = cleanup.enter_context(stack(folder, workers=workers))
        client = cleanup.enter_context(contextlib.closing(tollwayd.client()))
        client.deploy(answering(1), name=NAME, progress=False)
        keys = [
            client.create_key(application=f"bench-{n}", model=NAME, plan="unlimited").secret
            for n in range(APPLICATIONS)
        ]
        api = cleanup.enter_context(
            httpx.Client(
                base_url=tollwayd.url,
                headers={"Authorization": f"Bearer {tollwayd.token}"},
                timeout=30,
                trust_env=False,
            )
        )
        traffic = cleanup.enter_context(Traffic(tollwayd.port, keys, connections))
        made = Changes(client, api, traffic, "bench-0")
        progress = cleanup.enter_context(Progress(console=make_console()))
        bar = progress.add_task("changes", total=changes)
        made.run(changes, lambda: progress.advance(bar))
    by_variant: dict[str, int] = {}
    for (_, variant), count in traffic.answers.items():
        by_variant[variant] = by_variant.get(variant, 0) + count
    followed, rollback = Times.of(made.followed_ms), Times.of(made.rollback_ms)
    return Report(
        machine=conditions,
        workers=workers,
        connections=connections,
        seconds=time.monotonic() - began,
        changes=dict(made.made),
        change_ms=Times.of(made.change_ms),
        rollback_ms=rollback,
        followed_ms=followed,
        not_followed=made.not_followed,
        requests=traffic.requests,
        by_variant=by_variant,
        failed=traffic.failed,
        misversioned=traffic.misversioned,
        first_failure=traffic.first_failure,
        verdicts=judge(
            traffic.requests,
            traffic.failed,
            traffic.misversioned,
            followed,
            rollback,
            made.not_followed,
        ),
    )


def main(
    *,
    changes: Annotated[int, typer.Option(min=1, help="Changes, deployments among them.")] = 1000,
    connections: Annotated[int, typer.Option(min=1, help="Connections.")] = 32,
    workers: Annotated[int, typer.Option(min=1, help="Workers.")] = 1,
    output: Output = RESULTS,
    check: Check = False,
) -> None:
    """Change routes under constant load, and check each answer against the version it names."""
    end_on_sigterm()
    console = make_console()
    try:
        report = run(changes, connections, workers)
    except KeyboardInterrupt:
        console.print("stopped; nothing stored")
        sys.exit(130)
    path = machine.result_path(output, report.machine, "route-changes")
    met = conclude(console, path, report, report.verdicts)
    console.print(f"changes: {report.changes}; answers: {report.by_variant}", markup=False)
    if report.first_failure:
        console.print(f"first failure: {report.first_failure}", markup=False)
    if check and not met:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
