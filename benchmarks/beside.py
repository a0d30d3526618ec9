"""What deploying a large model costs the one that runs: ``python -m benchmarks.beside``.

A small model answers an open loop at a rate well below the capacity. Windows in which nothing else
happens alternate with deployments of a model of 200 MB and of one of 5,000 trees, each of them
uploaded, inspected, loaded and warmed until it could take traffic. The publisher stands for another
machine, gets what nobody else wants, and what it does before the first byte leaves is not judged.
"""

import asyncio
import contextlib
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import msgspec
import typer
import uvloop

from benchmarks import machine
from benchmarks.judged import RESULTS, Check, Output, conclude
from benchmarks.large_models import COLUMNS, dense, forest
from benchmarks.models import CLASSIFIER, json_body, train_classifier
from benchmarks.open_loop import OpenResult, OpenSpec, Reply, drive
from benchmarks.publisher import Wish
from benchmarks.report import make_console
from benchmarks.spec import Exchange
from benchmarks.stand_in import undelayed
from benchmarks.systems import ROOT, Served, Stack, stack
from benchmarks.targets import Verdict

TARGET_RATIO: Final = 2.0
CONNECTIONS: Final = 64
DEADLINE_MS: Final = 10_000
LONGEST_S: Final = 300.0
"""Of a deployment."""
PERCENTILE: Final = 0.99
UPLOADING: Final = "uploading"
DEPTH: Final = 5


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which one thing happened."""

    what: str
    """``idle``, or the model that was deployed."""
    seconds: float
    requests: int
    failed: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    steps: dict[str, float] = {}
    """Step of the deployment -> p99 of the requests sent in it, those of the publisher too."""
    steps_s: dict[str, float] = {}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run stores."""

    schema: str = "tollway.beside-benchmark/1"
    machine: machine.Machine
    rate: float
    windows: list[Window]
    verdicts: list[Verdict]


class Stand:
    """A stack whose small model is under load whenever something is measured."""

    def __init__(self, tollwayd: Stack, rate: float) -> None:
        trained = train_classifier()
        self._stack = tollwayd
        self._rate = rate
        with contextlib.closing(tollwayd.client()) as client:
            client.deploy(trained.estimator, name=CLASSIFIER, X=trained.X, y=trained.y)
            self._served: Served = tollwayd.served(client, CLASSIFIER)
        self._exchanges = [Exchange(body=json_body("input", row)) for row in trained.X[:64]]

    def idle(self, seconds: float) -> Window:
        """Load, and nothing else."""
        with undelayed():
            found = uvloop.run(drive(self._served, self._exchanges, self._spec(seconds)))
        return window("idle", found.replies, _failed(found))

    def deploying(self, what: str, name: str, path: Path) -> Window:
        """Load while ``path`` is deployed. Raises RuntimeError when that fails."""
        wish = Wish(
            url=self._stack.url,
            token=self._stack.token,
            model=name,
            path=str(path),
            columns=COLUMNS,
        )
        with undelayed():
            found, steps = uvloop.run(self._deploying(wish))
        return window(what, found.replies, _failed(found), steps)

    def forget(self, name: str) -> None:
        """Unload what was deployed: the next one finds the machine as it was."""
        with contextlib.closing(self._stack.client()) as client:
            client.retire(name, 1)

    def _spec(self, seconds: float) -> OpenSpec:
        return OpenSpec(
            rate=self._rate, seconds=seconds, deadline_ms=DEADLINE_MS, connections=CONNECTIONS
        )

    async def _deploying(self, wish: Wish) -> tuple[OpenResult, list[tuple[float, str]]]:
        enough = asyncio.Event()
        load = asyncio.create_task(
            drive(self._served, self._exchanges, self._spec(LONGEST_S), enough)
        )
        try:
            steps = await published(wish)
        finally:
            enough.set()
            found = await load
        return found, steps


async def published(wish: Wish) -> list[tuple[float, str]]:
    """Deploy in another process; when its steps began."""
    publisher = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.publisher",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert publisher.stdin is not None
    assert publisher.stdout is not None
    try:
        publisher.stdin.write(msgspec.json.encode(wish))
        publisher.stdin.close()
        async with asyncio.timeout(LONGEST_S):
            steps = [
                (time.perf_counter(), line.decode().strip()) async for line in publisher.stdout
            ]
            if await publisher.wait() != 0:
                raise RuntimeError("the deployment failed; its message is above")
    finally:
        if publisher.returncode is None:
            publisher.kill()
            await publisher.wait()
    return steps


def window(
    what: str, replies: list[Reply], failed: int, steps: list[tuple[float, str]] | None = None
) -> Window:
    """Sum up the replies; of a deployment those of requests sent since it began to upload."""
    steps = steps or []
    begun = [at for at, step in steps if step.startswith(UPLOADING)]
    by_step, lasting = {}, {}
    for (since, step), (until, _) in itertools.pairwise(steps):
        inside = [reply for reply in replies if since <= reply.sent_s < until]
        by_step[step] = _quantile(inside, PERCENTILE)
        lasting[step] = until - since
    if begun:
        replies = [reply for reply in replies if begun[0] <= reply.sent_s <= steps[-1][0]]
    sent = [reply.sent_s for reply in replies]
    return Window(
        what=what,
        seconds=max(sent, default=0.0) - min(sent, default=0.0),
        requests=len(replies),
        failed=failed,
        p50_ms=_quantile(replies, 0.5),
        p99_ms=_quantile(replies, PERCENTILE),
        max_ms=_quantile(replies, 1.0),
        steps=by_step,
        steps_s=lasting,
    )


def _failed(found: OpenResult) -> int:
    return found.sent + found.unsent - sum(reply.status == 200 for reply in found.replies)


def _quantile(replies: list[Reply], share: float) -> float:
    took = sorted(reply.took_s * 1000 for reply in replies)
    return took[min(int(share * len(took)), len(took) - 1)] if took else 0.0


def judge(windows: list[Window]) -> list[Verdict]:
    """The target for each model that was deployed: medians over the windows."""
    idle = median(one.p99_ms for one in windows if one.what == "idle")
    verdicts = []
    for what in dict.fromkeys(one.what for one in windows if one.what != "idle"):
        those = [one for one in windows if one.what == what]
        p99 = median(one.p99_ms for one in those)
        verdicts.append(
            Verdict(
                target=f"deploying {what}: p99 of the running model below {TARGET_RATIO:g} times "
                "that of idle times",
                measured=f"{p99 / idle:.2f} times ({p99:.2f} over {idle:.2f} ms; deployments took "
                f"{median(one.seconds for one in those):.1f} s)",
                passed=p99 < TARGET_RATIO * idle,
            )
        )
    failed, sent = sum(one.failed for one in windows), sum(one.requests for one in windows)
    return [
        *verdicts,
        Verdict(
            target="no answer failed because of a deployment",
            measured=f"{failed} of {sent:,}",
            passed=failed == 0 and sent > 0,
        ),
    ]


def measure(
    *, rate: float, rounds: int, seconds: float, megabytes: int, trees: int
) -> list[Window]:
    """Start, measure, stop."""
    kinds: dict[str, Callable[[Path, int], None]] = {
        f"{megabytes} MB": lambda path, seed: dense(path, megabytes=megabytes, seed=seed),
        f"{trees:,} trees": lambda path, seed: forest(path, trees=trees, depth=DEPTH, seed=seed),
    }
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tollway-bench-")))
        tollwayd = cleanup.enter_context(stack(folder))
        stand = Stand(tollwayd, rate)
        stand.idle(seconds)  # warm-up
        windows = []
        for number in range(rounds):
            for place, (what, make) in enumerate(kinds.items()):
                path, name = folder / "large.onnx", f"large-{place}-{number}"
                make(path, number)
                windows.append(stand.idle(seconds))
                windows.append(stand.deploying(what, name, path))
                stand.forget(name)
        windows.append(stand.idle(seconds))
        return windows


def main(
    *,
    rate: Annotated[float, typer.Option(min=1, help="Requests a second.")] = 200.0,
    rounds: Annotated[int, typer.Option(min=1, help="Deployments of each model.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Of an idle window.")] = 5.0,
    megabytes: Annotated[int, typer.Option(min=1, help="Of the large model.")] = 200,
    trees: Annotated[int, typer.Option(min=1, help="Of the other one.")] = 5000,
    output: Output = RESULTS,
    check: Check = False,
) -> None:
    """Measure answers of a running model while others are deployed, and store the result."""
    console = make_console()
    conditions = machine.describe()
    windows = measure(rate=rate, rounds=rounds, seconds=seconds, megabytes=megabytes, trees=trees)
    report = Report(machine=conditions, rate=rate, windows=windows, verdicts=judge(windows))
    path = machine.result_path(output, conditions, "beside")
    for one in windows:
        steps = "; ".join(
            f"{step} {one.steps_s[step]:.1f} s: {p99:.1f}" for step, p99 in one.steps.items()
        )
        console.print(
            f"{one.what}: {one.seconds:.1f} s, p50 {one.p50_ms:.2f}, p99 {one.p99_ms:.2f}, "
            f"max {one.max_ms:.1f} ms{f' ({steps})' if steps else ''}",
            markup=False,
        )
    met = conclude(console, path, report, report.verdicts)
    if check and not met:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
