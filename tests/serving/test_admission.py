"""Honest admission: what cannot be answered in time is told so at once, and costs nothing.

The simulation runs a whole engine on a clock of its own: a run lets time pass, and what arrives
meanwhile reaches the engine at its time, as on a socket.
"""

import asyncio
import json
import random
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from protocol.errors import TollwayError
from protocol.frames import Frame, Hello
from serving.admission import STALE_S, Admission
from serving.batcher import Batcher
from serving.call import Call
from serving.cost import Cost
from serving.engine import Engine
from serving.tensors import Array
from tests.serving import models
from tests.serving.conftest import MakeRig
from tests.serving.rig import infer_frame, one_input

FIXED_S, ROW_S = 0.002, 0.001
ROOM = 8
"""Rows that fit into the longest shared run with these costs."""
NOISE = 1.04
"""Mean of the factor that runs vary by."""
CAPACITY = ROOM / (FIXED_S + ROOM * ROW_S) / NOISE
DEADLINE_MS = 100
ONE_ROW = json.dumps(one_input([1, 2, 3], [1, 3])).encode()


def learnt(fixed: float = FIXED_S, row: float = ROW_S) -> Cost:
    cost = Cost()
    for index in range(100):
        count = index % 7 + 1
        cost.observe(count, 1, fixed + row * count)
    return cost


class At:
    """Runs what it is given at once, in the caller's thread."""

    def submit(self, work: Callable[..., None], *arguments: Any) -> Future[None]:
        done: Future[None] = Future()
        work(*arguments)
        done.set_result(None)
        return done

    def shutdown(self, wait: bool) -> None:
        """Nothing to end."""


class Simulation:
    """An engine, its graph, its clock and its only peer."""

    def __init__(self, rig: MakeRig, rate: float, seconds: float, drift: float = 1.0) -> None:
        made = rig(models.identity())
        self.random = random.Random(7)
        self.drift = drift
        """How much longer runs take than the engine has learnt."""
        self.now_ns = 0
        self.calls: dict[int, Call] = {}
        self.decoded = self.refused = 0
        self.took_s: list[float] = []
        self.failed: list[TollwayError] = []
        self.arrivals: list[int] = []
        """Nanoseconds."""
        at = 0.0
        while at < seconds:
            at += self.random.expovariate(rate)
            self.arrivals.append(int(at * 1e9))
        self.next = 0
        batcher = Batcher(self, self.clock_ns, merging=True, cost=learnt(), max_requests=1_000_000)
        self.engine = Engine(
            made.signature,
            batcher,
            Hello("m", 1, "d"),
            clock_ns=self.clock_ns,
            report_defect=made.defects.append,
        )
        executor: Any = At()
        self.engine._thread = executor
        decode = self.engine._decode

        def counted(frame: Frame) -> Call:
            self.decoded += 1
            return decode(frame)

        self.engine._decode = counted  # type: ignore[method-assign]

    def clock_ns(self) -> int:
        return self.now_ns

    # the graph

    def run(self, feeds: list[Array | None]) -> list[Array | None]:
        (feed,) = feeds
        assert feed is not None
        noise = self.random.lognormvariate(0, 0.2) * (3 if self.random.random() < 0.01 else 1)
        seconds = (FIXED_S + ROW_S * feed.shape[0]) * noise * self.drift
        self.pass_until(self.now_ns + int(seconds * 1e9))
        return [feed]

    # what arrives

    def pass_until(self, end_ns: int) -> None:
        """Let time pass; what arrives meanwhile reaches the engine."""
        while self.next < len(self.arrivals) and self.arrivals[self.next] <= end_ns:
            self.now_ns = self.arrivals[self.next]
            self.next += 1
            connection: Any = self
            self.engine.infer(connection, infer_frame(self.next, ONE_ROW, a=DEADLINE_MS))
        self.now_ns = end_ns

    async def finish(self) -> None:
        while self.next < len(self.arrivals):
            if self.engine.idle:
                self.pass_until(self.arrivals[self.next])
            await asyncio.sleep(0)
        while not self.engine.idle:  # noqa: ASYNC110 -- the loop's turns, no clock
            await asyncio.sleep(0)

    # the connection

    def reply(self, call: Call, status: int, body: bytes, **_: int) -> None:
        assert (status, self.calls.pop(call.id)) == (200, call)
        self.took_s.append((self.now_ns - call.arrived_ns) / 1e9)

    def refuse(self, id: int, error: TollwayError, queue_us: int = 0) -> None:
        self.calls.pop(id, None)
        self.failed.append(error)

    def turn_away(self, id: int, needed_us: int) -> None:
        assert needed_us > DEADLINE_MS * 1000
        self.refused += 1

    def flush(self) -> None:
        """Nothing is kept back."""


@pytest.mark.parametrize(("drift", "room"), [(1.0, 8), (1.5, 4)])
async def test_under_twice_the_capacity_the_goodput_stays_and_what_is_admitted_is_in_time(
    rig: MakeRig, drift: float, room: int
) -> None:
    seconds = 8.0
    capacity = room / (FIXED_S + room * ROW_S) / drift / NOISE
    simulation = Simulation(rig, 2 * capacity, seconds, drift)
    await simulation.finish()
    in_time = sum(took * 1000 <= DEADLINE_MS for took in simulation.took_s)
    assert in_time / seconds > 0.9 * capacity
    admitted = len(simulation.took_s) + len(simulation.failed)
    assert in_time >= 0.99 * admitted
    assert simulation.refused > 0.4 * len(simulation.arrivals)
    assert simulation.decoded == admitted, "what is refused is not even decoded"
    assert admitted + simulation.refused == len(simulation.arrivals)


async def test_nobody_is_refused_while_there_is_capacity(rig: MakeRig) -> None:
    simulation = Simulation(rig, 0.6 * CAPACITY, 4.0)
    await simulation.finish()
    assert simulation.refused == 0
    assert len(simulation.took_s) == len(simulation.arrivals)


async def test_an_idle_engine_tries_again_what_it_believes_impossible(rig: MakeRig) -> None:
    simulation = Simulation(rig, 1, 0)
    simulation.arrivals = [int(at * 1e9) for at in (0.1, 0.1 + 2 * STALE_S, 0.2 + 2 * STALE_S)]
    for _ in range(200):
        simulation.engine._batcher.cost.observe(1, 1, 5.0)  # as if it had been very slow
    await simulation.finish()
    assert (simulation.refused, len(simulation.took_s)) == (2, 1)


async def test_rows_that_take_too_long_are_refused_without_silencing_others(rig: MakeRig) -> None:
    simulation = Simulation(rig, 1, 0)
    simulation.arrivals = []
    connection: Any = simulation
    many = json.dumps(one_input([1.0, 2.0, 3.0] * 200, [200, 3])).encode()
    simulation.engine.infer(connection, infer_frame(1, many, a=DEADLINE_MS))
    simulation.engine.infer(connection, infer_frame(2, ONE_ROW, a=DEADLINE_MS))
    await simulation.finish()
    (error,) = simulation.failed
    assert error.code == "deadline_unreachable"
    assert "200 rows" in error.public
    assert simulation.refused == 0
    assert len(simulation.took_s) == 1


def test_the_stretch_follows_slow_answers_and_forgets_them() -> None:
    now = 0
    batcher = Batcher(
        None,  # type: ignore[arg-type]  # nothing runs
        lambda: now,
        merging=True,
        cost=learnt(),
    )
    admission = Admission(batcher, lambda: now)
    call = Call([], 1, None, None)  # type: ignore[arg-type]  # never encoded
    call.expected_s = 0.010
    for _ in range(50):
        now += 40_000_000
        call.arrived_ns = now - 40_000_000
        admission.ends([call], 1000, now)
    assert 3.0 < admission.stretch < 4.0
    assert admission.late(0.010, 0.020, now) > 0.030
    assert admission.late(0.010, 0.060, now) == 0
    now += 100_000_000_000
    admission.late(0.010, 0.020, now)
    assert admission.stretch < 1.01


def test_nothing_is_refused_before_a_cost_is_known() -> None:
    batcher = Batcher(None, lambda: 0, merging=True)  # type: ignore[arg-type]  # nothing runs
    admission = Admission(batcher, lambda: 0)
    assert admission.late(admission.expects(1000, 0), 0.001, 0) == 0
