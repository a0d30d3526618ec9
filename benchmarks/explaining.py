"""What explanations cost, and what they cost the predictions beside them:
``python -m benchmarks.explaining``.

Rounds with and without somebody who has rows explained all the time alternate, so that whatever
else the machine does hits both alike. The predictions are an open loop at a part of the capacity.
"""

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import httpx
import msgspec
import typer
import uvloop
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tollway
from benchmarks import machine
from benchmarks.judged import RESULTS, Check, Output, conclude
from benchmarks.measure import BackgroundLoad
from benchmarks.models import json_body, train_classifier
from benchmarks.open_loop import OpenSpec, Paced, drive
from benchmarks.report import make_console
from benchmarks.spec import Exchange, LoadSpec
from benchmarks.systems import Stack, stack
from benchmarks.targets import Verdict

TREES: Final = "breast-cancer"
LINEAR: Final = "breast-cancer-linear"
CONNECTIONS: Final = 32
LOAD: Final = 0.15
"""Part of the capacity that predictions take: explanations get what is left of it."""
TARGET_ADDED_MS: Final = 2.0
"""What predictions' p99 may grow by: a run of an explanation, and what the machine adds."""
DEADLINE_MS: Final = 10_000


class Side(Paced, kw_only=True):
    """The rounds with explanations, or those without."""

    explained: int = 0
    """Rows."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One explained row, on an engine that does nothing else."""

    model: str
    method: str
    columns: int
    evaluations: int
    compute_ms: float
    """Median of the engine's time, runs and mixing together."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run stores."""

    schema: str = "tollway.explaining-benchmark/1"
    machine: machine.Machine
    rows: list[Row]
    rate: float
    """Predictions a second."""
    without: Side
    beside: Side
    verdicts: list[Verdict]


class Stand:
    """A stack with two models, and whoever asks them."""

    def __init__(self, tollwayd: Stack, client: tollway.Client) -> None:
        trained = train_classifier()
        linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(trained.X, trained.y)
        client.deploy(trained.estimator, name=TREES, X=trained.X, y=trained.y)
        client.deploy(linear, name=LINEAR, X=trained.X, y=trained.y)
        self.served = tollwayd.served(client, TREES)
        self.exchanges = [Exchange(body=json_body("input", row)) for row in trained.X[:64]]
        self._instances = [[float(value) for value in row] for row in trained.X[:64]]
        self._http = httpx.Client(
            base_url=tollwayd.url,
            headers={"Authorization": f"Bearer {tollwayd.token}"},
            timeout=60,
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def explain(self, model: str, number: int) -> httpx.Response:
        """Have a row explained."""
        row = self._instances[number % len(self._instances)]
        path = f"/v1/models/{model}:explain"
        return self._http.post(path, json={"instances": [row]}).raise_for_status()

    def cost(self, model: str, count: int) -> Row:
        """What a row costs when nothing else is done."""
        self.explain(model, 0)  # asks about the background rows, once
        answers = [self.explain(model, number) for number in range(count)]
        found = answers[-1].json()
        timings = [answer.headers["Server-Timing"] for answer in answers]
        spent = [float(timing.split("infer;dur=")[1].split(",")[0]) for timing in timings]
        return Row(
            model=model,
            method=found["method"],
            columns=len(self._instances[0]),
            evaluations=found["evaluations"],
            compute_ms=median(spent),
        )

    @contextlib.contextmanager
    def explaining(self, side: Side) -> Iterator[None]:
        """Meanwhile, one row after the other is explained."""
        over = threading.Event()

        def ask() -> None:
            number = 0
            while not over.is_set():
                self.explain(TREES, number)
                number += 1
            side.explained += number

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def capacity(self, seconds: float) -> float:
        """Predictions a second of a closed loop."""
        spec = LoadSpec(
            host="127.0.0.1",
            port=self.served.port,
            path=self.served.path,
            api_key=self.served.api_key,
            exchanges=self.exchanges,
            connections=CONNECTIONS,
            seconds=seconds,
            warm_up_s=0.5,
        )
        with BackgroundLoad(spec) as load:
            return load.result().requests_per_s

    def paced(self, side: Side, rate: float, seconds: float) -> None:
        """Predictions at a rate."""
        spec = OpenSpec(
            rate=rate, seconds=seconds, deadline_ms=DEADLINE_MS, connections=CONNECTIONS
        )
        side.add(uvloop.run(drive(self.served, self.exchanges, spec)))


def measure(rounds: int, seconds: float) -> tuple[list[Row], float, Side, Side]:
    """Start, measure, stop."""
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tollway-bench-")))
        tollwayd = cleanup.enter_context(stack(folder))
        client = cleanup.enter_context(contextlib.closing(tollwayd.client()))
        stand = cleanup.enter_context(contextlib.closing(Stand(tollwayd, client)))
        rows = [stand.cost(TREES, 10), stand.cost(LINEAR, 50)]
        rate = LOAD * stand.capacity(seconds)
        without, beside = Side(), Side()
        for number in range(rounds):
            # The order changes from round to round: neither is always the first.
            for on in (False, True) if number % 2 else (True, False):
                time.sleep(0.5)
                if on:
                    with stand.explaining(beside):
                        stand.paced(beside, rate, seconds)
                else:
                    stand.paced(without, rate, seconds)
        return rows, rate, without, beside


def judge(without: Side, beside: Side) -> list[Verdict]:
    """The targets against what was measured."""
    added = median(beside.p99_ms) - median(without.p99_ms)
    return [
        Verdict(
            target=f"p99 of predictions grows by less than {TARGET_ADDED_MS:g} ms while rows are "
            "explained all the time",
            measured=f"{added:+.2f} ms ({median(beside.p99_ms):.2f} over "
            f"{median(without.p99_ms):.2f} ms; {beside.explained} rows explained)",
            passed=added < TARGET_ADDED_MS,
        ),
        Verdict(
            target="no prediction failed",
            measured=f"{without.failed + beside.failed} failed",
            passed=not without.failed + beside.failed,
        ),
    ]


def main(
    *,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Of a round.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each.")] = 10,
    output: Output = RESULTS,
    check: Check = False,
) -> None:
    """Measure explanations, and predictions with and without them, and store the result."""
    console = make_console()
    conditions = machine.describe()
    rows, rate, without, beside = measure(rounds, seconds)
    report = Report(
        machine=conditions,
        rows=rows,
        rate=rate,
        without=without,
        beside=beside,
        verdicts=judge(without, beside),
    )
    for row in rows:
        console.print(
            f"{row.model}: {row.compute_ms:.2f} ms a row of {row.columns} columns, "
            f"{row.evaluations} evaluations ({row.method})"
        )
    path = machine.result_path(output, conditions)
    named = path.with_name(f"explaining-{path.name}")
    met = conclude(console, named, report, report.verdicts)
    if check and not met:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
