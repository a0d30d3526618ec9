"""The choice between engines: by work and speed, not by counts; equals take turns."""

import heapq
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.load import FIXED_BYTES, SLOWEST, Load, weigh

WEIGH_S = 0.01
WARM_S = 2.0


def choose(loads: list[Load], size: int) -> int:
    """As ``Upstream.send`` does."""
    return min(
        range(len(loads)),
        key=lambda n: ((loads[n].work + size) * loads[n].weight, loads[n].turn),
    )


class Simulation:
    """Engines that work one request after the other, on a clock of its own."""

    def __init__(self, speeds: list[float], sizes: list[int], seed: int = 1) -> None:
        self.speeds = speeds
        self.sizes = sizes
        self.loads = [Load() for _ in speeds]
        self.free_at = [0.0] * len(speeds)
        self.turn = 0
        self.random = random.Random(seed)
        self.now = 0.0
        self.weighed = 0.0
        self.bytes = [0] * len(speeds)
        self.done: list[int] = []
        """The engine of each request answered."""
        self.pending: list[tuple[float, int, int, int, float]] = []

    def send(self) -> None:
        size = self.random.choice(self.sizes)
        at = choose(self.loads, size)
        load = self.loads[at]
        self.turn = load.turn = self.turn + 1
        load.sent(size)
        begin = max(self.now, self.free_at[at])
        self.free_at[at] = begin + (size + FIXED_BYTES) / self.speeds[at]
        heapq.heappush(self.pending, (self.free_at[at], self.turn, at, size, self.now))

    def run(self, in_flight: int, requests: int) -> float:
        """Keep so many in flight. Returns the time that all took."""
        for _ in range(in_flight):
            self.send()
        while len(self.done) < requests:
            self.now, _, at, size, sent = heapq.heappop(self.pending)
            self.loads[at].answered(size, sent, self.now)
            self.done.append(at)
            self.bytes[at] += size + FIXED_BYTES
            while self.weighed + WEIGH_S <= self.now:
                self.weighed += WEIGH_S
                weigh(self.loads)
            self.send()
        return self.now


def test_equal_engines_take_turns_when_idle() -> None:
    simulation = Simulation([1e6, 1e6, 1e6], [300])
    simulation.run(1, 300)
    assert set(Counter(simulation.done).values()) == {100}


def test_a_large_request_counts_for_many_small_ones() -> None:
    loads = [Load(), Load()]
    loads[0].sent(100_000)
    chosen = []
    for _ in range(20):
        at = choose(loads, 300)
        loads[at].sent(300)
        chosen.append(at)
    assert set(chosen) == {1}


def test_engines_of_different_speed_get_work_in_proportion() -> None:
    simulation = Simulation([4e6, 1e6], [300, 3000])
    simulation.run(32, 20_000)
    assert 3.5 < simulation.bytes[0] / simulation.bytes[1] < 4.5


def test_the_faster_engine_is_kept_busy_and_little_is_lost_to_the_slower() -> None:
    sizes = [300, 3000, 30_000]
    simulation = Simulation([8e6, 1e6], sizes)
    took = simulation.run(16, 20_000)
    mean = sum(sizes) / len(sizes) + FIXED_BYTES
    assert took < 1.15 * 20_000 * mean / 9e6


def test_an_engine_that_answers_nothing_in_time_is_avoided_and_tried_again() -> None:
    stuck, good = Load(), Load()
    now = 0.0
    for _ in range(100):
        now += WEIGH_S
        stuck.sent(300)
        stuck.late(300, now - WEIGH_S, now)
        good.sent(300)
        good.answered(300, now - 0.001, now)
        weigh([stuck, good])
    # It has done nothing yet, so that nobody knows its speed; then it does something.
    stuck.sent(300)
    stuck.answered(300, now, now + 5.0)
    weigh([stuck, good])
    assert stuck.weight == SLOWEST
    for _ in range(1000):
        weigh([stuck, good])
    assert stuck.weight < 1.01


@given(
    st.lists(st.tuples(st.sampled_from(["answered", "refused", "late"]), st.integers(0, 1 << 20)))
)
def test_work_is_what_was_sent_and_has_not_come_back(events: list[tuple[str, int]]) -> None:
    load = Load()
    for _, size in events:
        load.sent(size)
    assert load.work == sum(size + FIXED_BYTES for _, size in events)
    for moment, (what, size) in enumerate(events):
        if what == "refused":
            load.refused(size)
        else:
            getattr(load, what)(size, 0.0, float(moment))
        weigh([load, Load()])
        assert 1.0 <= load.weight <= SLOWEST
    assert load.work == 0
