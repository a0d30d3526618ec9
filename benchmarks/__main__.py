"""``python -m benchmarks``: everything that is measured beside peers, in one run."""

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, cast

import msgspec
import typer

import tollway
from benchmarks import machine, page, scenarios
from benchmarks.interruption import end_on_sigterm
from benchmarks.judged import RESULTS, Check, Output
from benchmarks.measure import Round
from benchmarks.models import (
    CLASSIFIER,
    REDUCER,
    TREES,
    Trained,
    classifier_onnx,
    reducer,
    train_classifier,
)
from benchmarks.peer_systems import PEERS, Peer, missing, peer_served
from benchmarks.processes import Memory
from benchmarks.report import Report, make_console, show, store
from benchmarks.systems import Served, Stack, stack
from benchmarks.targets import judge
from benchmarks.turns import Effort, Progress, comparisons, take_turn
from benchmarks.workloads import WORKLOADS, Workload, exchanges
from demo.training import diabetes

DEFAULT_CONNECTIONS = "1,32,128"
EVERY_PEER = ",".join(dict.fromkeys(peer.environment for peer in PEERS))
SIZE_ROUNDS = 2
WHY_LENGTH = 300


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a run, stored with its result."""

    peers: list[str]
    connections: list[int]
    rounds: int
    seconds: float
    workers: int
    large: bool
    sizes: bool

    def effort(self) -> Effort:
        """How much is measured in each turn."""
        return Effort(
            connections=self.connections,
            rounds=self.rounds,
            seconds=self.seconds,
            workloads=[work for work in WORKLOADS if self.large or work.rows == 1],
        )

    def chosen(self) -> list[Peer]:
        """The peers of this run, by their environments."""
        return [peer for peer in PEERS if peer.environment in self.peers]


class Outcome(msgspec.Struct, kw_only=True):
    """What has been measured so far."""

    rounds: list[Round] = []
    loops: list[scenarios.LoopRound] = []
    size_rounds: list[Round] = []
    sizes: list[scenarios.SizeCost] = []
    memory: list[Memory] = []
    absent: dict[str, str] = {}

    def errors(self) -> int:
        """Failures of any request to Tollway."""
        ours = [*(one for one in self.rounds if one.system != one.turn), *self.size_rounds]
        return sum(one.load.errors for one in ours) + sum(one.errors for one in self.loops)


def main(
    *,
    peers: Annotated[str, typer.Option(help="Environments of the peers.")] = EVERY_PEER,
    connections: Annotated[str, typer.Option(help="Numbers of connections.")] = DEFAULT_CONNECTIONS,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each system.")] = 2,
    seconds: Annotated[float, typer.Option(min=0.2, help="Measured seconds of a round.")] = 1.5,
    workers: Annotated[int, typer.Option(min=1, help="Engine agents of Tollway.")] = 1,
    large: Annotated[bool, typer.Option(help="Also ask for a thousand rows.")] = True,
    sizes: Annotated[bool, typer.Option(help="Also measure the cost of large bodies.")] = True,
    output: Output = RESULTS,
    publish: Annotated[bool, typer.Option(help="Write docs/benchmarks.md as well.")] = False,
    check: Check = False,
) -> None:
    """Measure Tollway beside its peers, and store the result."""
    end_on_sigterm()
    console = make_console()
    plan = Plan(
        peers=peers.split(","),
        connections=[int(number) for number in connections.split(",")],
        rounds=rounds,
        seconds=seconds,
        workers=workers,
        large=large,
        sizes=sizes,
    )
    if absent := missing(plan.chosen()):
        console.print(f"no environment for {', '.join(absent)}: run `make bench`, which makes it")
        sys.exit(1)
    conditions = machine.describe()
    trained = train_classifier()
    outcome = Outcome()
    try:
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
    if publish:
        page.publish(report)
    if outcome.errors() or (check and not all(verdict.passed for verdict in report.verdicts)):
        sys.exit(1)


def run(plan: Plan, trained: Trained, outcome: Outcome, progress: Progress) -> None:
    """Start everything, measure, stop everything."""
    graph = classifier_onnx(trained)
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tollway-bench-")))
        progress("starting tollwayd")
        tollwayd = cleanup.enter_context(stack(folder, workers=plan.workers))
        client = cleanup.enter_context(contextlib.closing(tollwayd.client()))
        progress("deploying two models")
        client.deploy(trained.estimator, name=CLASSIFIER, X=trained.X, y=trained.y)
        second = diabetes()[0]
        client.deploy(second.estimator, name=second.name, X=second.X, y=second.y)
        ours = tollwayd.served(client, CLASSIFIER)
        progress("idle memory")
        outcome.memory = scenarios.idle_memory(tollwayd.pid)
        for peer in plan.chosen():
            measure_beside(peer, ours, trained, graph, folder, plan, outcome, progress)
        if plan.large:
            outcome.loops = scenarios.beside_a_loop(
                ours, graph, trained, rounds=plan.rounds, seconds=plan.seconds, progress=progress
            )
        if plan.sizes:
            measure_sizes(tollwayd, outcome, progress, plan)


def measure_beside(
    peer: Peer,
    ours: Served,
    trained: Trained,
    graph: bytes,
    folder: Path,
    plan: Plan,
    outcome: Outcome,
    progress: Progress,
) -> None:
    """One peer's turn. One that does not start is named, and the others have their turns."""
    probe = exchanges(trained, Workload(rows=1, binary=False), peer.form)[0]
    progress(f"starting {peer.name}")
    with contextlib.ExitStack() as turn:
        try:
            theirs = turn.enter_context(peer_served(peer, graph, folder, probe))
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            outcome.absent[peer.name] = str(error)[-WHY_LENGTH:]
            return
        outcome.rounds += take_turn(peer, theirs, ours, trained, plan.effort(), progress)


def measure_sizes(tollwayd: Stack, outcome: Outcome, progress: Progress, plan: Plan) -> None:
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
    compared = comparisons(outcome.rounds)
    one_row = exchanges(trained, Workload(rows=1, binary=False))
    return Report(
        machine=conditions,
        parameters=cast("dict[str, object]", msgspec.to_builtins(plan)),
        model=f"StandardScaler + GradientBoostingClassifier ({TREES} trees)",
        request_bytes=len(one_row[0].body),
        rounds=[*outcome.rounds, *outcome.size_rounds],
        comparisons=compared,
        loops=outcome.loops,
        sizes=outcome.sizes,
        memory=outcome.memory,
        absent=outcome.absent,
        verdicts=judge(compared, outcome.loops, outcome.sizes, outcome.memory, outcome.errors()),
    )


if __name__ == "__main__":
    typer.run(main)
