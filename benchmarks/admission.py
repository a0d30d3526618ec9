"""Honest admission under overload: ``python -m benchmarks.admission``.

Capacity is what a closed loop of 64 connections gets. In turns with it an open loop sends twice as
much, each request with a deadline. Goodput is what is answered 200 within the
deadline; what was admitted is everything that was not refused with 503.
"""

import contextlib
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import onnx
import typer
import uvloop
from onnx import TensorProto, helper, numpy_helper

from benchmarks import machine
from benchmarks.judged import RESULTS, Check, Output, conclude
from benchmarks.measure import BackgroundLoad
from benchmarks.models import json_body
from benchmarks.open_loop import OpenResult, OpenSpec, drive
from benchmarks.report import make_console
from benchmarks.spec import Exchange, LoadSpec
from benchmarks.systems import Served, stack
from benchmarks.targets import Verdict

MODEL = "dense"
FEATURES, PLACES, WIDTH, LAYERS = 16, 64, 512, 4
TARGET_GOODPUT = 0.9
OVERLOAD = 2.0
CONNECTIONS = 64
ROUNDS = 3
PERCENTILE = 0.99
GOOD, REFUSED = 200, 503


class Overload(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one run."""

    capacity: list[float]
    """Requests a second of the closed loop, before and after each overload."""
    rate: float
    """Requests a second that the open loop sent."""
    deadline_ms: int
    goodput: float
    """Answers of status 200 within the deadline, a second."""
    admitted_p99_ms: float
    refused: int
    refused_p50_ms: float
    statuses: dict[str, int]
    unsent: int
    generator_late_ms: float
    retry_after: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run stores."""

    schema: str = "tollway.admission-benchmark/1"
    machine: machine.Machine
    overload: Overload
    verdicts: list[Verdict]


def dense() -> onnx.ModelProto:
    """A net that takes milliseconds a row, so that the engine is the bottleneck by far: what the
    gateway and the load generator need of the machine hardly counts."""
    random = np.random.default_rng(0)

    def weights(name: str, rows: int, columns: int) -> TensorProto:
        values = random.normal(0, rows**-0.5, (rows, columns)).astype(np.float32)
        return numpy_helper.from_array(values, name)

    nodes = [
        helper.make_node("MatMul", ["input", "spread"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["h0"]),
    ]
    held = [
        weights("spread", FEATURES, PLACES * WIDTH),
        numpy_helper.from_array(np.array([-1, PLACES, WIDTH], np.int64), "shape"),
        weights("last", WIDTH, 1),
    ]
    for layer in range(LAYERS):
        held.append(weights(f"w{layer}", WIDTH, WIDTH))
        nodes.append(helper.make_node("MatMul", [f"h{layer}", f"w{layer}"], [f"m{layer}"]))
        nodes.append(helper.make_node("Tanh", [f"m{layer}"], [f"h{layer + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"h{LAYERS}"], ["mean"], axes=[1], keepdims=0))
    nodes.append(helper.make_node("MatMul", ["mean", "last"], ["score"]))
    graph = helper.make_graph(
        nodes,
        MODEL,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", FEATURES])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["rows", 1])],
        held,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def exchanges() -> list[Exchange]:
    """One row each."""
    rows = np.random.default_rng(1).normal(size=(64, FEATURES)).astype(np.float32)
    return [Exchange(body=json_body("input", row)) for row in rows]


def capacity(served: Served, seconds: float) -> float:
    """Requests a second of a closed loop."""
    spec = LoadSpec(
        host="127.0.0.1",
        port=served.port,
        path=served.path,
        api_key=served.api_key,
        exchanges=exchanges(),
        connections=CONNECTIONS,
        seconds=seconds,
        warm_up_s=1.0,
    )
    with BackgroundLoad(spec) as load:
        return load.result().requests_per_s


def summarise(found: list[OpenResult], spec: OpenSpec, capacities: list[float]) -> Overload:
    """The figures of all rounds."""
    replies = [reply for one in found for reply in one.replies]
    statuses: dict[str, int] = {}
    for reply in replies:
        statuses[str(reply.status)] = statuses.get(str(reply.status), 0) + 1
    refused = sorted(reply.took_s for reply in replies if reply.status == REFUSED)
    admitted = sorted(reply.took_s for reply in replies if reply.status != REFUSED)
    good = sum(r.status == GOOD and r.took_s * 1000 <= spec.deadline_ms for r in replies)
    return Overload(
        capacity=capacities,
        rate=spec.rate,
        deadline_ms=spec.deadline_ms,
        goodput=good / (spec.seconds * len(found)),
        admitted_p99_ms=admitted[int(PERCENTILE * len(admitted))] * 1000 if admitted else 0.0,
        refused=len(refused),
        refused_p50_ms=refused[len(refused) // 2] * 1000 if refused else 0.0,
        statuses=statuses,
        unsent=sum(one.unsent for one in found),
        generator_late_ms=max(one.late_s for one in found) * 1000,
        retry_after=sum(one.retry_after for one in found),
    )


def judge(overload: Overload) -> list[Verdict]:
    """The targets against what was measured."""
    share = overload.goodput / (sum(overload.capacity) / len(overload.capacity))
    return [
        Verdict(
            target=f"{OVERLOAD:g} times the capacity: goodput above {TARGET_GOODPUT:.0%} of it",
            measured=f"{share:.1%} ({overload.goodput:.0f} of "
            f"{', '.join(f'{one:.0f}' for one in overload.capacity)} requests/s)",
            passed=share > TARGET_GOODPUT,
        ),
        Verdict(
            target=f"p99 of what is admitted under the deadline of {overload.deadline_ms} ms",
            measured=f"{overload.admitted_p99_ms:.1f} ms (the generator was at most "
            f"{overload.generator_late_ms:.0f} ms behind)",
            passed=overload.admitted_p99_ms < overload.deadline_ms,
        ),
        Verdict(
            target="everything else is refused with Retry-After, at once",
            measured=f"{overload.refused} refused, half of them within "
            f"{overload.refused_p50_ms:.1f} ms; {overload.statuses}",
            passed=overload.refused == overload.retry_after > 0,
        ),
    ]


def measure(seconds: float, deadline_ms: int) -> Overload:
    """Start, measure, stop."""
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tollway-bench-")))
        tollwayd = cleanup.enter_context(stack(folder))
        client = cleanup.enter_context(contextlib.closing(tollwayd.client()))
        client.deploy(dense(), name=MODEL)
        served = tollwayd.served(client, MODEL)
        found: list[OpenResult] = []
        # In turns, so that whatever else the machine does hits both.
        capacities = [capacity(served, seconds)]
        for _ in range(ROUNDS):
            spec = OpenSpec(rate=OVERLOAD * capacities[0], seconds=seconds, deadline_ms=deadline_ms)
            found.append(uvloop.run(drive(served, exchanges(), spec)))
            capacities.append(capacity(served, seconds))
        return summarise(found, spec, capacities)


def main(
    *,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Of a round.")] = 6.0,
    deadline_ms: Annotated[int, typer.Option(min=10, help="Of each request.")] = 200,
    output: Output = RESULTS,
    check: Check = False,
) -> None:
    """Send twice what the engine can take, and see what becomes of it."""
    console = make_console()
    conditions = machine.describe()
    overload = measure(seconds, deadline_ms)
    report = Report(machine=conditions, overload=overload, verdicts=judge(overload))
    path = machine.result_path(output, conditions)
    named = path.with_name(f"admission-{path.name}")
    met = conclude(console, named, report, report.verdicts)
    if check and not met:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
