"""``python -m benchmarks``: everything that is measured, in one run, beside a peer."""

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Annotated, cast

import msgspec
import typer

import tollway
from benchmarks import chart, machine, scenarios
from benchmarks.interruption import end_on_sigterm
from benchmarks.measure import Round
from benchmarks.models import (
    CLASSIFIER,
    REDUCER,
    TREES,
    Trained,
    classifier_exchanges,
    classifier_onnx,
    reducer,
    train_classifier,
)
from benchmarks.processes import Memory
from benchmarks.report import Report, Verdict, judge, make_console, show, store
from benchmarks.systems import (
    HANDWRITTEN,
    HANDWRITTEN_TUNED,
    ROOT,
    Stack,
    handwritten,
    require_peer,
    stack,
)
from demo.training import diabetes

RESULTS = ROOT / "benchmarks" / "results"
DEFAULT_CONNECTIONS = "1,32,128"
SIZE_ROUNDS = 2


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a run, stored with its result."""

    connections: list[int]
    rounds: int
    seconds: float
    workers: int
    tuned_peer: bool
    sizes: bool


class Outcome(msgspec.Struct, kw_only=True):
    """What has been measured so far."""

    rounds: list[Round] = []
    size_rounds: list[Round] = []
    sizes: list[scenarios.SizeCost] = []
    memory: list[Memory] = []

    def errors(self) -> int:
        """Failures of any request of any round."""
        return sum(round_.load.errors for round_ in [*self.rounds, *self.size_rounds])


def main(
    *,
    connections: Annotated[str, typer.Option(help="Numbers of connections.")] = DEFAULT_CONNECTIONS,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each system.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.2, help="Measured seconds of a round.")] = 2.5,
    workers: Annotated[int, typer.Option(min=1, help="Engine agents of Tollway.")] = 1,
    tuned: Annotated[
        bool, typer.Option(help="Also measure the peer with one ONNX Runtime thread.")
    ] = True,
    sizes: Annotated[bool, typer.Option(help="Also measure the cost of large bodies.")] = True,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
    picture: Annotated[Path | None, typer.Option(help="Draw an SVG there as well.")] = None,
    check: Annotated[bool, typer.Option(help="Exit 1 when a target is missed.")] = False,
) -> None:
    """Measure Tollway beside the hand-written service, and store the result."""
    end_on_sigterm()
    console = make_console()
    plan = Plan(
        connections=[int(number) for number in connections.split(",")],
        rounds=rounds,
        seconds=seconds,
        workers=workers,
        tuned_peer=tuned,
        sizes=sizes,
    )
    conditions = machine.describe()
    trained = train_classifier()
    outcome = Outcome()
    try:
        require_peer()
        with console.status("starting") as status:
            run(plan, trained, outcome, status.update)
    except KeyboardInterrupt:
        console.print("stopped; nothing stored")
        sys.exit(130)
    except (OSError, RuntimeError, tollway.TollwayError) as error:
        console.print("\n".join([str(error), *getattr(error, "__notes__", [])]), markup=False)
        sys.exit(1)
    report = make_report(plan, conditions, trained, outcome)
    path = machine.result_path(output, conditions)
    store(path, report)
    show(console, report)
    console.print(
        f"stored in {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}"
    )
    if picture is not None:
        chart.write(report, picture)
    if outcome.errors() or (check and not all(verdict.passed for verdict in report.verdicts)):
        sys.exit(1)


def run(plan: Plan, trained: Trained, outcome: Outcome, progress: scenarios.Progress) -> None:
    """Start everything, measure, stop everything."""
    graph = classifier_onnx(trained)
    exchanges = classifier_exchanges(trained)
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tollway-bench-")))
        progress("starting tollwayd")
        tollwayd = cleanup.enter_context(stack(folder, workers=plan.workers))
        client = cleanup.enter_context(contextlib.closing(tollwayd.client()))
        progress("deploying two models")
        client.deploy(trained.estimator, name=CLASSIFIER, X=trained.X, y=trained.y)
        second = diabetes()
        client.deploy(second.estimator, name=second.name, X=second.X, y=second.y)
        served = tollwayd.served(client, CLASSIFIER)
        progress("idle memory")
        outcome.memory = scenarios.idle_memory(tollwayd.pid)
        progress("starting the hand-written service")
        with contextlib.ExitStack() as peers:
            systems = [
                peers.enter_context(handwritten(graph, folder, threads=0, system=HANDWRITTEN)),
                served,
            ]
            if plan.tuned_peer:
                tuned = handwritten(graph, folder, threads=1, system=HANDWRITTEN_TUNED)
                systems.insert(1, peers.enter_context(tuned))
            outcome.rounds = scenarios.compare(
                systems,
                exchanges,
                connections=plan.connections,
                rounds=plan.rounds,
                seconds=plan.seconds,
                progress=progress,
            )
        if plan.sizes:
            measure_sizes(tollwayd, outcome, progress, plan)


def measure_sizes(
    tollwayd: Stack, outcome: Outcome, progress: scenarios.Progress, plan: Plan
) -> None:
    """Deploy the reducer as a graph and measure bodies of several sizes on it."""
    progress("deploying the row-sum graph")
    with contextlib.closing(tollwayd.client()) as client:
        client.deploy(reducer(), name=REDUCER)
        served = tollwayd.served(client, REDUCER)
    outcome.size_rounds, outcome.sizes = scenarios.sizes(
        served, rounds=SIZE_ROUNDS, seconds=plan.seconds, progress=progress
    )


def make_report(
    plan: Plan, conditions: machine.Machine, trained: Trained, outcome: Outcome
) -> Report:
    """Everything to store and print."""
    summaries = scenarios.summaries(outcome.rounds) if outcome.rounds else []
    verdicts: list[Verdict] = judge(summaries, outcome.sizes, outcome.memory, outcome.errors())
    return Report(
        machine=conditions,
        parameters=cast("dict[str, object]", msgspec.to_builtins(plan)),
        model=f"StandardScaler + GradientBoostingClassifier ({TREES} trees)",
        request_bytes=len(classifier_exchanges(trained, 1)[0].body),
        rounds=[*outcome.rounds, *outcome.size_rounds],
        summaries=summaries,
        sizes=outcome.sizes,
        memory=outcome.memory,
        verdicts=verdicts,
    )


if __name__ == "__main__":
    typer.run(main)
