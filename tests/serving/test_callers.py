"""Whoever asks an engine gets one answer, their own, whatever their batch-mates do."""

import asyncio
import json
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.errors import Code, TollwayError
from protocol.frames import Frame, Kind
from serving.batcher import Batcher
from serving.call import Call, Results
from serving.cost import Cost
from serving.tensors import Array
from tests.serving import models
from tests.serving.conftest import MakeRig
from tests.serving.rig import Rig, infer_frame, one_input
from tests.serving.test_batcher import Clock, Doubler, Plain, call_of
from tests.serving.test_engine import connected, frame_bytes, settle_until

POISON, BREAKS = 666, 667


class Moody:
    """Answers with its input, in the engine's thread or loop; fails on some rows, as a graph or as
    a defect does."""

    def run(self, feeds: list[Array | None]) -> list[Array | None]:
        (feed,) = feeds
        assert feed is not None
        if (feed == POISON).any():
            raise TollwayError(Code.INFERENCE_FAILED, "poison")
        if (feed == BREAKS).any():
            raise MemoryError
        return [feed]


Request = tuple[int, list[int], bool, int]
requests = st.tuples(
    st.integers(1, 4),
    st.lists(st.sampled_from([1, 2, 3, 4, 5, POISON, BREAKS]), min_size=1, max_size=3),
    st.booleans(),
    st.integers(0, 3),
)
"""Width, value of each row, whether its caller goes away, and turns of the loop before the next."""


def frame_of(id: int, request: Request) -> Frame:
    width, values, _, _ = request
    data = [float(value) for value in values for _ in range(width)]
    return infer_frame(id, json.dumps(one_input(data, [len(values), width])).encode())


async def served(made: Rig, asked: list[Request], in_thread: bool) -> dict[int, list[Frame]]:
    """The replies to each request, by its number."""
    cost = Cost()
    cost.observe(1, 1, 1.0 if in_thread else 1e-6)
    made_engine = made.engine()
    engine: Any = made_engine
    engine._batcher = Batcher(Moody(), made_engine._clock_ns, merging=True, cost=cost)
    engine._admission._batcher = engine._batcher
    connection, _, replies = connected(made_engine)
    for id, request in enumerate(asked):
        connection.data_received(frame_bytes(frame_of(id, request)))
        for _ in range(request[3]):
            await asyncio.sleep(0)
        if request[2]:
            connection.data_received(frame_bytes(infer_frame(id, b"")._replace(kind=Kind.CANCEL)))
    await settle_until(lambda: made_engine.idle and not connection.calls)
    found: dict[int, list[Frame]] = {id: [] for id in range(len(asked))}
    for _ in range(3):
        await asyncio.sleep(0)
    for frame in replies():
        found[frame.id].append(frame)
    made_engine.close()
    return found


@given(asked=st.lists(requests, min_size=1, max_size=25), in_thread=st.booleans())
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_everybody_gets_one_answer_of_their_own_and_nobody_is_stranded(
    rig: MakeRig, asked: list[Request], in_thread: bool
) -> None:
    made = rig(models.identity(shape=(None, None)))
    found = asyncio.run(served(made, asked, in_thread))
    for id, (width, values, leaves, _) in enumerate(asked):
        if leaves:
            assert len(found[id]) <= 1  # its answer may have left before the caller did
        else:
            assert len(found[id]) == 1
        for frame in found[id]:
            if POISON in values or BREAKS in values:
                # Whichever the graph meets first.
                allowed = (
                    {400}
                    if BREAKS not in values
                    else {500}
                    if POISON not in values
                    else {
                        400,
                        500,
                    }
                )
                assert frame.status in allowed
                continue
            assert frame.status == 200
            (output,) = json.loads(frame.body)["outputs"]
            assert output["shape"] == [len(values), width]
            assert output["data"] == [float(value) for value in values for _ in range(width)]


@given(
    guilty=st.sets(st.integers(0, 199), max_size=4),
    count=st.integers(1, 200),
)
@settings(deadline=None, max_examples=60)
def test_the_guilty_are_found_in_few_runs(guilty: set[int], count: int) -> None:
    runner = Doubler()
    batcher = Batcher(runner, Clock(), merging=True)
    calls = [
        call_of([np.full((1, 2), 666.0 if number in guilty else 1.0, np.float32)])
        for number in range(count)
    ]
    assert batcher.run(calls) == []
    for number, call in enumerate(calls):
        assert (call.error is not None) == (number in guilty)
        assert (call.results is not None) == (number not in guilty)
    guilty_here = sum(number < count for number in guilty)
    # Each of the guilty halves its way down once, and takes a few with it at the end.
    assert len(runner.runs) <= 1 + guilty_here * (2 * count.bit_length() + 4)


def test_a_defect_in_a_shared_run_is_its_requests_alone() -> None:
    calls = [
        Call([np.full((1, 1), value, np.float32)], 1, ("k",), Plain()) for value in (1, BREAKS, 2)
    ]
    defects = Batcher(Moody(), Clock(), merging=True).run(calls)
    assert {type(defect) for defect in defects} == {MemoryError}
    assert [call.error.code if call.error else None for call in calls] == [
        None, Code.INTERNAL, None,
    ]  # fmt: skip
    assert all(isinstance(calls[at].results, Results) for at in (0, 2))
