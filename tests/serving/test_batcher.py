"""Batching: nobody waits for company, and everybody gets exactly their own rows."""

from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import Code, TollwayError
from protocol.frames import NO_HEADER
from serving.batcher import Batcher
from serving.call import Call, Results
from serving.cost import PROBE_EVERY, Cost
from serving.tensors import Array
from tests.serving import models
from tests.serving.conftest import MakeRig

POISON = 666.0


class Clock:
    """Nanoseconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1

    def __call__(self) -> int:
        return self.now


class Doubler:
    """A graph that doubles its inputs, and fails as a whole when a poisoned row is among them."""

    def __init__(self) -> None:
        self.runs: list[int] = []

    def run(self, feeds: list[Array | None]) -> list[Array]:
        present = [feed for feed in feeds if feed is not None]
        self.runs.append(present[0].shape[0])
        for feed in present:
            if feed.dtype != object and (feed.astype(np.float64) == POISON).any():
                raise TollwayError(Code.INFERENCE_FAILED, "poison")
        return [feed + feed for feed in present]


class Plain:
    """An encoder that these tests do not use."""

    def encode(self, results: Results, start: int, stop: int) -> tuple[bytes, int]:
        return b"", NO_HEADER


def call_of(feeds: list[Array | None], *, mergeable: bool = True) -> Call:
    present = [feed for feed in feeds if feed is not None]
    key = tuple((f.dtype.str, f.shape[1:]) for f in present) if mergeable else None
    return Call(feeds, present[0].shape[0], key, Plain())


def rows(count: int, value: float = 1.0) -> Call:
    return call_of([np.full((count, 2), value, np.float32)])


def drained(batcher: Batcher) -> tuple[list[list[Call]], list[Call]]:
    """Run until the queue is empty: the groups, and those who were too late."""
    groups, all_late = [], []
    while len(batcher):
        group, late = batcher.take()
        all_late += late
        if group:
            batcher.run(group)
            groups.append(group)
    return groups, all_late


@st.composite
def requests(draw: st.DrawFn) -> Call:
    count = draw(st.integers(1, 5))
    width = draw(st.sampled_from([1, 3]))
    dtype = draw(st.sampled_from(["float32", "int64", "object"]))
    seed = draw(st.integers(0, 1000))
    values = np.arange(seed, seed + count * width)
    array = (values % 600).astype(str if dtype == "object" else dtype).astype(dtype)
    if dtype != "object" and draw(st.integers(0, 9)) == 0:
        array[-1] = POISON
    feeds: list[Array | None] = [array.reshape(count, width)]
    if draw(st.booleans()):
        feeds.append(np.full((count, 2), seed, np.float32))
    call = call_of(feeds, mergeable=draw(st.integers(0, 4)) > 0)
    call.cancelled = draw(st.integers(0, 6)) == 0
    return call


@given(calls=st.lists(requests(), max_size=30), room=st.integers(1, 20))
@settings(deadline=None, max_examples=200)
def test_splitting_a_merged_run_gives_everyone_what_they_would_get_alone(
    calls: list[Call], room: int
) -> None:
    batcher = Batcher(Doubler(), Clock(), merging=True, max_rows=room)
    for call in calls:
        batcher.add(call)
    drained(batcher)
    for call in calls:
        if call.cancelled:
            assert call.results is None
            continue
        try:
            expected = Doubler().run(call.feeds)
        except TollwayError:
            assert call.error is not None
            assert call.results is None
            continue
        assert call.error is None
        assert call.results is not None
        for output, array in enumerate(expected):
            mine = call.results.array(output, call.start, call.stop)
            np.testing.assert_array_equal(mine, array)
            values, shape = call.results.values(output, call.start, call.stop)
            assert values == array.reshape(-1).tolist()
            assert shape == array.shape
            text, shape = call.results.text(output, call.start, call.stop)
            assert b"[" + text + b"]" == msgspec.json.encode(values)
            assert shape == array.shape


def test_what_waits_together_runs_together() -> None:
    runner = Doubler()
    batcher = Batcher(runner, Clock(), merging=True)
    for count in (1, 2, 3):
        batcher.add(rows(count))
    drained(batcher)
    assert runner.runs == [6]


def test_a_guilty_request_fails_alone() -> None:
    runner = Doubler()
    batcher = Batcher(runner, Clock(), merging=True)
    calls = [rows(1), rows(1, POISON), rows(1)]
    for call in calls:
        batcher.add(call)
    drained(batcher)
    assert runner.runs == [3, 1, 1, 1]
    assert [call.error is None for call in calls] == [True, False, True]


def test_a_request_beyond_its_deadline_is_not_run() -> None:
    runner, clock = Doubler(), Clock()
    batcher = Batcher(runner, clock, merging=True)
    late, fresh = rows(1), rows(1)
    late.deadline_ns, fresh.deadline_ns = 10, 1000
    batcher.add(late)
    batcher.add(fresh)
    clock.now = 10
    groups, too_late = drained(batcher)
    assert groups == [[fresh]]
    assert too_late == [late]


def test_the_queue_is_bounded_in_requests_and_bytes() -> None:
    batcher = Batcher(Doubler(), Clock(), merging=True, max_requests=2, max_bytes=100)
    assert not batcher.full(1000)  # alone, even a large one is let in
    first = rows(1)
    first.size = 60
    batcher.add(first)
    assert batcher.full(50)
    assert not batcher.full(40)
    batcher.add(rows(1))
    assert batcher.full(0)
    drained(batcher)
    assert not batcher.full(100)


def test_a_run_has_at_most_the_rows_allowed_unless_one_request_alone_has_more() -> None:
    runner = Doubler()
    batcher = Batcher(runner, Clock(), merging=True, max_rows=4)
    for count in (3, 2, 9, 1, 1):
        batcher.add(rows(count))
    drained(batcher)
    assert runner.runs == [3, 2, 9, 2]


def test_outputs_that_stop_following_the_rows_end_the_sharing() -> None:
    class Summing(Doubler):
        def run(self, feeds: list[Array | None]) -> list[Array]:
            return [super().run(feeds)[0].sum(axis=0, keepdims=True)]

    batcher = Batcher(Summing(), Clock(), merging=True)
    calls = [rows(2), rows(2)]
    for call in calls:
        batcher.add(call)
    drained(batcher)
    assert batcher.batching == (False, "an output's first dimension does not follow the input's")
    assert all(call.results is not None and not call.results.shared for call in calls)


def learnt(fixed: float, row: float, samples: int = 200) -> Cost:
    cost = Cost()
    for index in range(samples):
        count = index % 7 + 1
        cost.observe(count, 1, fixed + row * count)
    return cost


def test_the_cost_of_runs_is_learnt() -> None:
    cost = learnt(20e-6, 3e-6)
    np.testing.assert_allclose([cost.fixed_s, cost.row_s], [20e-6, 3e-6], rtol=1e-6)
    np.testing.assert_allclose(cost.predict(100), 320e-6, rtol=1e-6)


def test_equal_runs_keep_the_slope_that_was_known() -> None:
    cost = learnt(20e-6, 3e-6)
    for _ in range(1000):
        cost.observe(4, 1, 52e-6)  # the machine has become slower
    assert 2e-6 < cost.row_s < 4e-6
    np.testing.assert_allclose(cost.predict(4), 52e-6, rtol=1e-3)


def test_one_stall_does_not_make_a_model_slow() -> None:
    cost = learnt(20e-6, 3e-6)
    cost.observe(4, 1, 5.0)
    assert cost.predict(4) < 100e-6


def test_merging_is_off_where_a_row_costs_far_more_than_a_run() -> None:
    cost = learnt(10e-6, 2e-3)
    assert not cost.pays
    assert "us a row" in cost.reason
    assert learnt(20e-6, 2e-6).pays


def test_merging_that_does_not_pay_is_tried_again_now_and_then() -> None:
    cost = learnt(10e-6, 2e-3)
    tries = [cost.merge_now() for _ in range(3 * PROBE_EVERY)]
    assert tries.count(True) == 3


def test_a_graph_whose_rows_depend_on_each_other_is_never_merged(rig: MakeRig) -> None:
    made = rig(models.centred())
    assert (made.merging, made.why_not) == (False, "a row's answer depends on the other rows")


def test_a_fixed_first_dimension_is_never_merged(rig: MakeRig) -> None:
    made = rig(models.static_batch())
    assert (made.merging, made.why_not) == (False, "a tensor's first dimension is fixed")


def test_ordinary_graphs_are_merged(rig: MakeRig) -> None:
    for graph in (models.linear(), models.columns(), models.gather(), models.parse_number()):
        made: Any = rig(graph)
        assert made.merging, made.why_not
