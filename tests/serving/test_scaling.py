"""How many engines: never beyond the bounds, up soon, down late, and no to and fro."""

from hypothesis import given
from hypothesis import strategies as st

from serving.scaling import SUSTAINED_S, EngineLoad, Scaler

TICK_S = 0.25
IDLE_S = 30.0


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def queueing() -> EngineLoad:
    """Requests wait three times as long as their runs take."""
    return EngineLoad(
        span_s=TICK_S, busy_s=TICK_S, answered=5, started=5, waited_s=0.75, runs=5, ran_s=0.25
    )


def working(share: float) -> EngineLoad:
    """Busy for a share of its time, and nobody waits."""
    return EngineLoad(
        span_s=TICK_S, busy_s=share * TICK_S, answered=5, started=5, runs=5, ran_s=share * TICK_S
    )


class Engines:
    """Engines that there are as soon as they are wanted."""

    def __init__(self, minimum: int = 1, maximum: int = 4) -> None:
        self.clock = Clock()
        self.scaler = Scaler(minimum, maximum, IDLE_S, self.clock)
        self.count = minimum
        self.changes: list[tuple[float, int]] = []

    def live(self, seconds: float, load: EngineLoad | None) -> None:
        """Every engine tells the same (None: nothing) for a while."""
        for _ in range(int(seconds / TICK_S)):
            self.clock.now += TICK_S
            if load is not None:
                for slot in range(self.count):
                    self.scaler.told(slot, load)
            self.look()

    def look(self) -> None:
        wanted = self.scaler.wanted(self.count, 0)
        if wanted != self.count:
            for slot in range(wanted, self.count):
                self.scaler.forget(slot)
            self.count = wanted
            self.changes.append((self.clock.now, wanted))


def test_sustained_queueing_brings_a_second_engine_within_two_seconds() -> None:
    engines = Engines()
    engines.live(2.0, queueing())
    (first, *_) = engines.changes
    assert first[1] == 2
    assert first[0] <= 2.0


def test_a_burst_brings_none() -> None:
    engines = Engines()
    for _ in range(20):
        engines.live(SUSTAINED_S / 2, queueing())
        engines.live(2.0, working(0.9))
    assert engines.changes == []


def test_queueing_that_goes_on_brings_more_up_to_the_bound() -> None:
    engines = Engines(maximum=5)
    engines.live(20.0, queueing())
    assert [count for _, count in engines.changes] == [2, 3, 4, 5]


def test_nothing_more_is_started_while_an_engine_starts() -> None:
    engines = Engines()
    engines.live(0.5, queueing())
    for _ in range(40):
        engines.clock.now += TICK_S
        engines.scaler.told(0, queueing())
        assert engines.scaler.wanted(2, starting=1) == 2


def test_idle_engines_go_after_the_idle_time_and_not_before() -> None:
    engines = Engines()
    engines.live(10.0, queueing())
    assert engines.count == 4
    begun = engines.clock.now
    engines.changes.clear()
    engines.live(2 * IDLE_S, None)
    (change,) = engines.changes
    assert change[1] == 1
    assert IDLE_S - 1 <= change[0] - begun <= IDLE_S + 1


def test_engines_that_are_needed_stay_though_nobody_waits() -> None:
    engines = Engines()
    engines.live(10.0, queueing())
    engines.live(3 * IDLE_S, working(0.5))
    assert engines.count == 4


def test_one_busy_moment_within_the_idle_time_keeps_the_engines() -> None:
    engines = Engines()
    engines.live(10.0, queueing())
    for _ in range(8):
        engines.live(IDLE_S * 0.8, working(0.1))
        engines.live(1.0, working(0.55))
    assert engines.count == 4


def test_refusals_for_deadlines_count_only_where_the_engine_is_busy() -> None:
    assert EngineLoad(span_s=1, busy_s=0.9, answered=9, turned_away=1).queueing
    assert not EngineLoad(span_s=1, busy_s=0.1, answered=9, turned_away=1).queueing


def test_requests_that_have_waited_long_without_any_answer_are_queueing() -> None:
    assert EngineLoad(span_s=TICK_S, busy_s=TICK_S, backlog_s=8.0).queueing


def test_a_wait_that_is_short_beside_the_run_is_not_queueing() -> None:
    assert not EngineLoad(
        span_s=1, busy_s=1, answered=1, started=1, waited_s=0.3, runs=1, ran_s=1.0
    ).queueing
    assert not EngineLoad(
        span_s=1, busy_s=1, answered=9, started=9, waited_s=0.05, runs=9, ran_s=0.001
    ).queueing


LOADS = st.one_of(st.none(), st.just(queueing()), st.floats(0, 1).map(working))


@given(
    st.integers(1, 6),
    st.integers(0, 10),
    st.lists(st.tuples(st.floats(0.25, 40), LOADS), max_size=25),
)
def test_the_bounds_hold_whatever_happens_and_no_engine_goes_as_soon_as_it_came(
    minimum: int, more: int, phases: list[tuple[float, EngineLoad | None]]
) -> None:
    engines = Engines(minimum, minimum + more)
    for seconds, load in phases:
        engines.live(seconds, load)
    counts = [minimum, *(count for _, count in engines.changes)]
    assert all(minimum <= count <= minimum + more for count in counts)
    moments = [0.0, *(at for at, _ in engines.changes)]
    for index in range(1, len(counts)):
        apart = moments[index] - moments[index - 1]
        if counts[index] < counts[index - 1]:
            assert apart >= IDLE_S - 1e-6, "down only long after any other change"
        elif index > 1:
            assert apart >= SUSTAINED_S - TICK_S - 1e-6


def test_waits_for_a_processor_are_none_for_an_engine() -> None:
    waits = {"answered": 100, "started": 100, "runs": 10, "ran_s": 0.01, "waited_s": 5.0}
    assert not EngineLoad(span_s=TICK_S, busy_s=0.3 * TICK_S, **waits).queueing
    assert EngineLoad(span_s=TICK_S, busy_s=0.9 * TICK_S, **waits).queueing
