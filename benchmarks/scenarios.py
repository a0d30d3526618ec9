"""What is measured of Tollway alone: the gateway's cost by body size, a loop beside it, memory."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.measure import Round, measure
from benchmarks.models import Trained, binary_sum, json_sum, row_of, wide_row
from benchmarks.processes import Memory, memory_by_role
from benchmarks.runtime_loop import LoopResult, run_loop
from benchmarks.spec import Exchange
from benchmarks.systems import Served
from benchmarks.workloads import LARGE_ROWS, Workload, exchanges

SMALL_BYTES = 500
LARGE_BYTES = 1_000_000
SIZE_CONNECTIONS = 4
IDLE_S = 3.0
"""Time without requests before memory is read."""

Progress = Callable[[str], None]


class SizeCost(msgspec.Struct, frozen=True, kw_only=True):
    """CPU per request for one kind of body; medians over the rounds."""

    label: str
    body_bytes: int
    requests: int
    gateway_ms: float
    engine_ms: float
    added_gateway_ms: float
    """Against the smallest body."""
    p50_ms: float
    errors: int


def size_bodies() -> dict[str, Exchange]:
    """The bodies whose cost is compared; the first is the small one."""
    return {
        "0.5 kB JSON": json_sum(row_of(SMALL_BYTES)),
        "1 MB JSON": json_sum(row_of(LARGE_BYTES)),
        "1 MB binary": binary_sum(wide_row(LARGE_BYTES)),
    }


def sizes(
    served: Served, *, rounds: int, seconds: float, progress: Progress
) -> tuple[list[Round], list[SizeCost]]:
    """What a body of 1 MB costs the gateway more than one of 0.5 kB."""
    bodies = size_bodies()
    measured = []
    for number in range(1, rounds + 1):
        for label, exchange in bodies.items():
            progress(f"body of {label}, round {number} of {rounds}")
            measured.append(
                measure(
                    served,
                    [exchange],
                    connections=SIZE_CONNECTIONS,
                    seconds=seconds,
                    label=label,
                )
            )
    return measured, size_costs(measured, bodies)


def size_costs(measured: list[Round], bodies: dict[str, Exchange]) -> list[SizeCost]:
    """Medians by body, and the difference from the first body."""
    costs: list[SizeCost] = []
    base = 0.0
    for label, exchange in bodies.items():
        mine = [round_ for round_ in measured if round_.label == label]
        gateway = statistics.median(round_.cpu_ms("gateway") for round_ in mine)
        base = base if costs else gateway
        costs.append(
            SizeCost(
                label=label,
                body_bytes=len(exchange.body),
                requests=sum(round_.load.answered for round_ in mine),
                gateway_ms=gateway,
                engine_ms=statistics.median(round_.cpu_ms("engine") for round_ in mine),
                added_gateway_ms=gateway - base,
                p50_ms=statistics.median(round_.load.latency.p50_ms for round_ in mine),
                errors=sum(round_.load.errors for round_ in mine),
            )
        )
    return costs


class LoopRound(msgspec.Struct, frozen=True, kw_only=True):
    """ONNX Runtime in a loop, and then a thousand rows a request through the whole stack."""

    loop: LoopResult
    rows_per_s: float
    rows_per_engine_cpu_s: float
    errors: int

    @property
    def share(self) -> float:
        """Of the loop's rows per second."""
        return self.rows_per_s / self.loop.rows_per_s


def beside_a_loop(
    served: Served,
    graph: bytes,
    trained: Trained,
    *,
    rounds: int,
    seconds: float,
    progress: Progress,
) -> list[LoopRound]:
    """Alternating rounds; few connections, so that the engine always has work and nothing more."""
    workload = Workload(rows=LARGE_ROWS, binary=True)
    requests = exchanges(trained, workload)
    rows = (trained.X[np.arange(LARGE_ROWS) % len(trained.X)]).astype(np.float32)
    found = []
    with tempfile.TemporaryDirectory(prefix="tollway-bench-") as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(graph)
        for number in range(1, rounds + 1):
            progress(f"beside ONNX Runtime in a loop, round {number} of {rounds}")
            loop = run_loop(file, rows, seconds)
            one = measure(served, requests, connections=SIZE_CONNECTIONS, seconds=seconds)
            found.append(
                LoopRound(
                    loop=loop,
                    rows_per_s=one.load.requests_per_s * LARGE_ROWS,
                    rows_per_engine_cpu_s=LARGE_ROWS * 1000 / max(one.cpu_ms("engine"), 1e-9),
                    errors=one.load.errors,
                )
            )
    return found


def idle_memory(pid: int) -> list[Memory]:
    """Resident memory by role after a while without requests."""
    time.sleep(IDLE_S)
    return memory_by_role(pid)
