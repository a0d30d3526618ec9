"""The sentinel: shared runs are compared with rows alone, cheaply, and a difference ends them."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import Code, TollwayError
from protocol.frames import EngineStats, Hello, Kind
from serving.batcher import Batcher
from serving.call import Call, Results
from serving.engine import Engine
from serving.sentinel import BELIEVED_AFTER, SHARE, Output, Sentinel, compare
from serving.tensors import Array
from tests.serving import models
from tests.serving.conftest import MakeRig
from tests.serving.peer import Peer, Started
from tests.serving.rig import infer_frame, one_input
from tests.serving.test_batcher import Clock, Plain
from tests.serving.test_engine import connected, frame_bytes, settle


def body(*values: float) -> bytes:
    return json.dumps(one_input(list(values), [1, len(values)])).encode()


def watched(rig: MakeRig, told: list[str]) -> Engine:
    made = rig(models.centred_above())
    assert made.merging, made.why_not
    return Engine(
        made.signature,
        Batcher(made.session, lambda: 0, merging=True),
        Hello("m", 1, "d"),
        sentinel=Sentinel(made.session, [Output("y", "FP32")], Clock()),
        raise_alert=told.append,
        report_defect=made.defects.append,
        clock_ns=lambda: 0,
    )


def stats(engine: Engine) -> EngineStats:
    return msgspec.json.decode(engine.stats(), type=EngineStats)


async def test_a_graph_whose_answers_depend_on_batch_mates_is_found_out_after_the_answers_left(
    rig: MakeRig,
) -> None:
    told: list[str] = []
    engine = watched(rig, told)
    connection, _, replies = connected(engine)
    engine._sentinel._budget_ns = 1.0  # type: ignore[union-attr]  # no clock ticks here
    connection.data_received(
        frame_bytes(infer_frame(1, body(1, 2))) + frame_bytes(infer_frame(2, body(1000, 2000)))
    )
    await settle()
    assert len(replies()) == 2
    (why,) = told
    assert why.startswith("a row's answer depends on the other rows of its run: output 'y' differs")
    found = stats(engine)
    assert (found.batching, found.batching_reason, found.batching_cause) == (False, why, "graph")
    assert (found.sentinel_rows, found.sentinel_differences) == (1, 1)

    # From now on everybody is run alone, and gets what the graph says of their rows alone.
    connection.data_received(
        frame_bytes(infer_frame(3, body(1, 2))) + frame_bytes(infer_frame(4, body(1000, 2000)))
    )
    await settle()
    answers = [json.loads(frame.body)["outputs"][0]["data"] for frame in replies()]
    assert answers == [[1, 2], [100, 100]]
    assert told == [why]


async def test_an_engine_process_tells_its_agent_and_serves_on(tmp_path: Path) -> None:
    engine = Started(models.centred_above(), tmp_path, keep_stdout=True)
    try:
        peer, _ = await Peer.connect(engine.order.address)
        for round_ in range(20):
            first = 2 * round_ + 1
            peer.infer(first, body(1, 2))
            peer.infer(first + 1, body(1000, 2000))
            assert [(await peer.reply(first + one)).status for one in (0, 1)] == [200, 200]
        peer.send(Kind.STATS, id=99)
        found = msgspec.json.decode((await peer.reply(99)).body, type=EngineStats)
        assert (found.batching, found.sentinel_differences) == (False, 1)
        assert engine.process.stdout is not None
        alert = None
        while alert is None:
            news = json.loads(await asyncio.to_thread(engine.process.stdout.readline))
            alert = news.get("alert")
        assert alert["kind"] == "batch_variance"
        peer.writer.close()
    finally:
        engine.end()


class Slow:
    """Answers with its input, after some of the clock's time."""

    def __init__(self, clock: Clock, cost_ns: Callable[[int], int]) -> None:
        self._clock = clock
        self._cost_ns = cost_ns

    def run(self, feeds: list[Array | None]) -> list[Array | None]:
        (feed,) = feeds
        assert feed is not None
        self._clock.now += self._cost_ns(feed.shape[0])
        return [feed]


def shared(rows: list[int], run_ns: int) -> list[Call]:
    arrays: list[Array | None] = [np.zeros((sum(rows), 1), np.float32)]
    results = Results(arrays, run_ns, shared=True)
    group, start = [], 0
    for count in rows:
        call = Call([np.zeros((count, 1), np.float32)], count, ("k",), Plain())
        call.results, call.start, call.stop = results, start, start + count
        start += count
        group.append(call)
    return group


@given(fixed=st.integers(1_000, 5_000_000), row=st.integers(100, 1_000_000))
def test_looking_again_takes_a_bounded_share_of_the_time(fixed: int, row: int) -> None:
    clock = Clock()
    sentinel = Sentinel(Slow(clock, lambda rows: fixed + row * rows), [Output("y", "FP32")], clock)
    run_ns = fixed + row * 8
    for _ in range(500):
        sentinel.watch(shared([3, 2, 3], run_ns))
        if sentinel.rows_due:
            assert sentinel.check() == ""
    # One check may be under way beyond the share.
    assert 0 < sentinel.spent_ns <= SHARE * 500 * run_ns + fixed + row * 3


class Says:
    """Gives the outputs that it was told to."""

    def __init__(self, *arrays: Array | None) -> None:
        self.arrays = list(arrays)

    def run(self, feeds: list[Array | None]) -> list[Array | None]:
        return self.arrays


def classified(label: int, score: float) -> list[Array]:
    return [np.array([label]), np.array([[score]], np.float32)]


def checked(sentinel: Sentinel, together: list[Array]) -> str:
    results = Results([np.concatenate([one, one]) for one in together], 1_000_000, shared=True)
    group = []
    for start in (0, 1):
        call = Call([np.zeros((1, 1), np.float32)], 1, ("k",), Plain())
        call.results, call.start, call.stop = results, start, start + 1
        group.append(call)
    sentinel.watch(group)
    return sentinel.check()


def test_a_label_that_flips_once_beside_equal_scores_is_a_tie_and_twice_is_not() -> None:
    outputs = [Output("label", "INT64"), Output("scores", "FP32")]
    sentinel = Sentinel(Says(*classified(1, 0.5)), outputs, Clock())
    said = [checked(sentinel, classified(0, 0.5)) for _ in range(BELIEVED_AFTER)]
    assert said == ["", "output 'label' differs in 1 of 1 values"]
    assert sentinel.differences == 1


def test_scores_that_differ_are_believed_at_once() -> None:
    outputs = [Output("label", "INT64"), Output("scores", "FP32")]
    sentinel = Sentinel(Says(*classified(1, 0.5)), outputs, Clock())
    assert checked(sentinel, classified(1, 0.75)) == "output 'scores' differs by up to 0.25"


def test_rows_that_fail_alone_are_a_difference() -> None:
    class Fails:
        def run(self, feeds: list[Array | None]) -> list[Array | None]:
            raise TollwayError(Code.INFERENCE_FAILED, "no")

    sentinel = Sentinel(Fails(), [Output("y", "FP32")], Clock())
    assert "fail alone" in checked(sentinel, [np.zeros((1, 1), np.float32)])


@pytest.mark.parametrize(
    ("datatype", "one", "other", "same"),
    [
        ("FP32", [np.nan, np.inf, 1.0], [np.nan, np.inf, 1.0005], True),
        ("FP32", [np.nan], [1.0], False),
        ("FP32", [np.inf], [-np.inf], False),
        ("FP32", [1.0], [1.01], False),
        ("FP64", [1.0], [1.00001], True),
        ("FP64", [1.0], [1.001], False),
        ("FP16", [1.0], [1.005], True),
        ("FP16", [1.0], [1.05], False),
        ("INT64", [1], [1], True),
        ("INT64", [1], [2], False),
        ("BYTES", ["a"], ["a"], True),
        ("BYTES", ["a"], ["b"], False),
        ("BOOL", [True], [False], False),
        ("BF16", [0x3F80], [0x3F81], True),
        ("BF16", [0x3F80], [0x4000], False),
        ("BF16", [0x7FC0], [0x7FC1], True),
    ],
)
def test_tolerance_depends_on_the_type_and_nan_equals_nan(
    datatype: str, one: list[object], other: list[object], same: bool
) -> None:
    dtypes = {"FP32": "f4", "FP64": "f8", "FP16": "f2", "INT64": "i8", "BOOL": "?", "BF16": "u2"}
    dtype = np.dtype(dtypes.get(datatype, object))
    found = compare(Output("y", datatype), np.array(one, dtype), np.array(other, dtype))
    assert (found == "") == same


def test_another_shape_is_a_difference() -> None:
    found = compare(Output("y", "FP32"), np.zeros((1, 2)), np.zeros((1, 3)))
    assert found == "output 'y' has another shape"
    assert "only sometimes" in compare(Output("y", "FP32"), np.zeros((1, 2)), None)
    assert compare(Output("y", "FP32"), None, None) == ""
