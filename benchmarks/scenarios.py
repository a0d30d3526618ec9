"""What is measured: the comparison by connections, the gateway's cost by body size, idle memory."""

import statistics
import time
from collections.abc import Callable

import msgspec

from benchmarks.measure import Round, Summary, measure, summarise
from benchmarks.models import binary_sum, json_sum, row_of, wide_row
from benchmarks.processes import Memory, memory_by_role
from benchmarks.spec import Exchange
from benchmarks.systems import Served

SMALL_BYTES = 500
LARGE_BYTES = 1_000_000
SIZE_CONNECTIONS = 4
IDLE_S = 3.0
"""Time without requests before memory is read."""
WARM_S = 0.5

Progress = Callable[[str], None]


def compare(
    systems: list[Served],
    exchanges: list[Exchange],
    *,
    connections: list[int],
    rounds: int,
    seconds: float,
    progress: Progress,
) -> list[Round]:
    """Rounds of every system in turn (A B C, A B C ...), so that drift of the machine hits all."""
    for served in systems:
        measure(served, exchanges, connections=8, seconds=WARM_S)
    measured = []
    for count in connections:
        for number in range(1, rounds + 1):
            for served in systems:
                progress(f"{count} connections, round {number} of {rounds}: {served.system}")
                measured.append(measure(served, exchanges, connections=count, seconds=seconds))
    return measured


def summaries(rounds: list[Round]) -> list[Summary]:
    """One summary for each number of connections and system, in the order of the rounds."""
    groups: dict[tuple[int, str], list[Round]] = {}
    for round_ in rounds:
        groups.setdefault((round_.connections, round_.system), []).append(round_)
    return [summarise(group) for group in groups.values()]


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


def idle_memory(pid: int) -> list[Memory]:
    """Resident memory by role after a while without requests."""
    time.sleep(IDLE_S)
    return memory_by_role(pid)
