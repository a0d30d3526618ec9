"""The comparison: each peer in its turn, Tollway measured again beside it, round by round."""

from collections.abc import Callable

import msgspec

from benchmarks.measure import Round, Summary, measure, summarise
from benchmarks.models import Trained
from benchmarks.peer_systems import Peer
from benchmarks.systems import TOLLWAY, Served
from benchmarks.workloads import Form, Workload, exchanges

WARM_S = 0.5
WARM_CONNECTIONS = 8

Progress = Callable[[str], None]


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    connections: list[int]
    rounds: int
    seconds: float
    workloads: list[Workload]


def take_turn(
    peer: Peer,
    theirs: Served,
    ours: Served,
    trained: Trained,
    effort: Effort,
    progress: Progress,
) -> list[Round]:
    """Rounds of both (A B, A B ...), so that whatever else the machine does hits both.

    What a peer does not offer is not measured: not every one takes binary tensors.
    """
    workloads = [work for work in effort.workloads if peer.binary or not work.binary]
    sides = [(theirs, peer.form), (ours, Form.V2)]
    measured = []
    for workload in workloads:
        asked = [(served, exchanges(trained, workload, form)) for served, form in sides]
        for served, requests in asked:
            measure(served, requests, connections=WARM_CONNECTIONS, seconds=WARM_S)
        for connections in effort.connections:
            for number in range(1, effort.rounds + 1):
                for served, requests in asked:
                    progress(
                        f"{peer.name}: {workload.label}, {connections} connections, "
                        f"round {number} of {effort.rounds}: {served.system}"
                    )
                    measured.append(
                        measure(
                            served,
                            requests,
                            connections=connections,
                            seconds=effort.seconds,
                            label=workload.label,
                            turn=peer.name,
                            rows=workload.rows,
                        )
                    )
    return measured


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A peer and Tollway, measured beside one another."""

    label: str
    connections: int
    theirs: Summary
    ours: Summary

    @property
    def ratio(self) -> float:
        """Tollway's requests per CPU-second against the peer's."""
        return self.ours.requests_per_cpu_s / max(self.theirs.requests_per_cpu_s, 1e-9)


def comparisons(rounds: list[Round]) -> list[Comparison]:
    """One for each workload, number of connections and turn, in this order."""
    groups: dict[tuple[str, int, str], dict[str, list[Round]]] = {}
    for one in rounds:
        sides = groups.setdefault((one.label, one.connections, one.turn), {})
        sides.setdefault(one.system, []).append(one)
    return [
        Comparison(
            label=label,
            connections=connections,
            theirs=summarise(sides[turn]),
            ours=summarise(sides[TOLLWAY]),
        )
        for (label, connections, turn), sides in groups.items()
        if turn in sides and TOLLWAY in sides
    ]
