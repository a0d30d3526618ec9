"""What the project wants to reach, against what a run measured."""

import statistics

import msgspec

from benchmarks.peer_systems import BARE, ENVOY, HANDWRITTEN, PEERS
from benchmarks.processes import Memory
from benchmarks.scenarios import LoopRound, SizeCost
from benchmarks.turns import Comparison
from benchmarks.workloads import Workload

JUDGED = Workload(rows=1, binary=False).label
JUDGED_CONNECTIONS = 32
HANDWRITTEN_REQUESTS = 900
"""Requests per CPU-second of the hand-written service on the machine that the targets speak of."""
WANTED_REQUESTS = 20_000
ON_THE_PATH = ("gateway", "engine")
PYTHON_RATIO = 20.0
ENVOY_RATIO = 3.0
ALONE_LATENCY = 1.1
LOOP_SHARE = 0.8
ADDED_GATEWAY_MS = 1.0
IDLE_MB = 600.0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One target and whether this run met it."""

    target: str
    measured: str
    passed: bool


def judge(
    comparisons: list[Comparison],
    loops: list[LoopRound],
    sizes: list[SizeCost],
    memory: list[Memory],
    errors: int,
) -> list[Verdict]:
    """The targets of what was measured; nothing else is judged."""
    found = {
        (one.theirs.system, one.connections): one for one in comparisons if one.label == JUDGED
    }
    return [
        *_against_python(found),
        *_against_envoy(found),
        *_alone(found),
        *_in_a_loop(loops),
        *_sizes(sizes),
        *_memory(memory),
        Verdict(
            target="every request answered, and every answer compared equal to scikit-learn's",
            measured=f"{errors} errors",
            passed=errors == 0,
        ),
    ]


Found = dict[tuple[str, int], Comparison]


def _against_python(found: Found) -> list[Verdict]:
    verdicts = []
    handwritten = found.get((HANDWRITTEN, JUDGED_CONNECTIONS))
    if handwritten is not None:
        ours, theirs = handwritten.ours, handwritten.theirs
        share = sum(ours.cpu_share.get(role, 0.0) for role in ON_THE_PATH)
        ours_of_path = ours.requests_per_cpu_s / share
        scaled = ours_of_path / theirs.requests_per_cpu_s * HANDWRITTEN_REQUESTS
        verdicts += [
            Verdict(
                target=f"{WANTED_REQUESTS:,} requests per CPU-second of gateway and engine where "
                f"the hand-written service makes {HANDWRITTEN_REQUESTS}",
                measured=f"{scaled:,.0f} ({ours_of_path:,.0f} where it made "
                f"{theirs.requests_per_cpu_s:,.0f})",
                passed=scaled >= WANTED_REQUESTS,
            ),
            Verdict(
                target=f"at {JUDGED_CONNECTIONS} connections a p99 below the hand-written p50",
                measured=f"{ours.p99_ms:.2f} ms against {theirs.p50_ms:.2f} ms",
                passed=ours.p99_ms < theirs.p50_ms,
            ),
        ]
    for peer in PEERS:
        one = found.get((peer.name, JUDGED_CONNECTIONS))
        if peer.python and one is not None:
            verdicts.append(
                Verdict(
                    target=f"at least {PYTHON_RATIO:g} times the requests per CPU-second of "
                    f"{peer.name}",
                    measured=f"{one.ratio:.1f} times",
                    passed=one.ratio >= PYTHON_RATIO,
                )
            )
    return verdicts


def _against_envoy(found: Found) -> list[Verdict]:
    one = found.get((ENVOY, JUDGED_CONNECTIONS))
    if one is None:
        return []
    return [
        Verdict(
            target=f"{ENVOY_RATIO:g} times the requests per CPU-second of {ENVOY}",
            measured=f"{one.ratio:.2f} times",
            passed=one.ratio >= ENVOY_RATIO,
        ),
        Verdict(
            target=f"at {JUDGED_CONNECTIONS} connections a p99 below Envoy's",
            measured=f"{one.ours.p99_ms:.2f} ms against {one.theirs.p99_ms:.2f} ms",
            passed=one.ours.p99_ms < one.theirs.p99_ms,
        ),
    ]


def _alone(found: Found) -> list[Verdict]:
    one = found.get((BARE, 1))
    if one is None:
        return []
    ratio = one.ours.p50_ms / one.theirs.p50_ms
    return [
        Verdict(
            target=f"at 1 connection a p50 of at most {ALONE_LATENCY:g} times the bare ASGI app's",
            measured=f"{ratio:.2f} times ({one.ours.p50_ms:.3f} ms against "
            f"{one.theirs.p50_ms:.3f} ms)",
            passed=ratio <= ALONE_LATENCY,
        )
    ]


def _in_a_loop(loops: list[LoopRound]) -> list[Verdict]:
    if not loops:
        return []
    share = statistics.median(one.share for one in loops)
    return [
        Verdict(
            target=f"1,000-row binary requests: {LOOP_SHARE:.0%} of the rows per second of ONNX "
            "Runtime in a loop",
            measured=f"{share:.0%}",
            passed=share >= LOOP_SHARE,
        )
    ]


def _sizes(sizes: list[SizeCost]) -> list[Verdict]:
    return [
        Verdict(
            target=f"{cost.label}: less than {ADDED_GATEWAY_MS:g} ms of gateway CPU added",
            measured=f"{cost.added_gateway_ms:.3f} ms",
            passed=cost.added_gateway_ms < ADDED_GATEWAY_MS,
        )
        for cost in sizes[1:]
    ]


def _memory(memory: list[Memory]) -> list[Verdict]:
    if not memory:
        return []
    total = sum(role.rss_mb for role in memory)
    return [
        Verdict(
            target=f"idle with two models: under {IDLE_MB:g} MB resident in total",
            measured=f"{total:.0f} MB",
            passed=total < IDLE_MB,
        )
    ]
