"""An engine that works as a shadow: below predictions, within bounds, each request counted once."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from protocol.frames import NO_HEADER, SHADOWED, EngineStats, Frame, Kind, Operation
from protocol.manifest import Column
from protocol.shadowing import Disagreements, MirrorBatch, Mirrored, Tally
from serving import shadow_work
from serving.connection import Connection
from serving.disagreements import MAX_EXAMPLES
from serving.engine import Engine
from tests.serving import models
from tests.serving.conftest import MakeRig
from tests.serving.rig import Rig, infer_frame, one_input
from tests.serving.test_engine import connected, frame_bytes, settle

THREE = ("red", "green", "blue")


def mirrored(rows: list[list[float]], answer: object, **fields: Any) -> Mirrored:
    """A request of ``rows`` over V1, and what another version has answered."""
    values: dict[str, Any] = {
        "version": 7,
        "application": "shop",
        "prediction_id": b"p-1",
        "operation": Operation.V1_PREDICT,
        "header_length": NO_HEADER,
        "body": json.dumps({"instances": rows}).encode(),
        "answer_header_length": NO_HEADER,
        "answer": json.dumps({"predictions": answer}).encode(),
        **fields,
    }
    return Mirrored(**values)


def send(
    connection: Connection, id: int, items: list[Mirrored], left_ms: int = 5_000, **segments: str
) -> None:
    """A SHADOW frame."""
    body = msgspec.msgpack.encode(MirrorBatch(segments, items))
    frame = infer_frame(id, body, a=left_ms)._replace(kind=Kind.SHADOW)
    connection.data_received(frame_bytes(frame))


def ask(connection: Connection, acknowledged: int = 0) -> None:
    frame = infer_frame(999, b"", a=acknowledged)._replace(kind=Kind.DISAGREEMENTS)
    connection.data_received(frame_bytes(frame))


def told(frame: Frame) -> Disagreements:
    return msgspec.msgpack.decode(frame.body, type=Disagreements)


async def summary(engine: Engine, acknowledged: int = 0) -> dict[tuple[int, str, str], Tally]:
    """What was compared, by the version that answered, the application and the segment."""
    connection, _, replies = connected(engine)
    ask(connection, acknowledged)
    await settle()
    [frame] = replies()
    found = told(frame) if frame.body else None
    tallies = found.tallies if found is not None else []
    return {(p.against, p.application, p.segment): tally for p, tally in tallies}


async def done(count: int, replies: Any) -> list[Frame]:
    """Wait for so many replies."""
    found: list[Frame] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            await asyncio.sleep(0)
            found += replies()
    return found


def table(rig: MakeRig) -> Rig:
    """A regressor over the columns ``age`` and ``income``: ``age * 0 + income * 1 + 0.5``."""
    columns = tuple(
        Column(name=name, type="float", input="input", index=index)
        for index, name in enumerate(("age", "income"))
    )
    return rig(models.linear(2), columns=columns, task="regression")


async def test_what_differs_is_counted_by_version_application_and_segment(rig: MakeRig) -> None:
    engine = table(rig).engine()
    connection, _, replies = connected(engine)
    rows = [[20.0, 1.0], [40.0, 2.0], [25.0, 3.0]]
    items = [
        mirrored(rows, [1.5, 3.0, 3.5]),
        mirrored(rows[:1], [2.5], application="bank", version=6),
    ]
    send(connection, 3, items, young="age<30", old="age>=90")
    [frame] = await done(1, replies)
    assert (frame.flags, frame.id, frame.a, frame.b, frame.body) == (SHADOWED, 3, 2, 0, b"")
    found = await summary(engine)
    assert set(found) == {
        (7, "shop", ""),
        (7, "shop", "young"),
        (6, "bank", ""),
        (6, "bank", "young"),
    }
    shop = found[7, "shop", ""]
    assert (shop.requests, shop.rows, shop.measured, shop.equal) == (1, 3, 3, 2)
    assert (shop.shift, shop.shift_squares, shop.largest) == (-0.5, 0.25, 0.5)
    assert (shop.labelled_requests, shop.measured_requests) == (0, 1)
    assert shop.request_shifts == pytest.approx(-0.5 / 3)
    assert shop.request_shift_squares == pytest.approx(0.25 / 9)
    young = found[7, "shop", "young"]
    assert (young.requests, young.rows, young.equal) == (0, 2, 2)
    assert young.measured_requests == 0
    assert found[6, "bank", ""].shift == -1.0


async def test_a_missing_value_is_in_no_segment(rig: MakeRig) -> None:
    engine = table(rig).engine()
    connection, _, replies = connected(engine)
    body = json.dumps({"instances": [[None, 1.0]]}).encode()
    send(connection, 1, [mirrored([], [1.5], body=body)], known="age!=5", low="age<5")
    await done(1, replies)
    assert set(await summary(engine)) == {(7, "shop", "")}


@pytest.mark.parametrize(
    ("body", "answer", "reason"),
    [
        (b'{"instances": [[1]]}', [1.5], "refused"),
        (b"{", [1.5], "refused"),
        (b'{"instances": [[1, 1]]}', [[1.5, 2.0]], "unlike"),
        (b'{"instances": [[1, 1]]}', "text", "unlike"),
    ],
)
async def test_what_cannot_be_compared_is_counted_by_its_reason(
    rig: MakeRig, body: bytes, answer: object, reason: str
) -> None:
    engine = table(rig).engine()
    connection, _, replies = connected(engine)
    send(connection, 1, [mirrored([], answer, body=body)])
    [frame] = await done(1, replies)
    assert (frame.a, frame.b) == (1, 0)
    [tally] = (await summary(engine)).values()
    assert (tally.requests, tally.rows, tally.failures) == (1, 0, {reason: 1})


async def test_a_shadow_that_cannot_run_a_request_fails_alone(rig: MakeRig) -> None:
    engine = rig(models.gather()).engine()
    connection, _, replies = connected(engine)
    items = [
        mirrored([], answer, body=json.dumps({"instances": index}).encode())
        for index, answer in (([0], [10.0]), ([9], [20.0]), ([2], [30.0]))
    ]
    send(connection, 1, items)
    await done(1, replies)
    [tally] = (await summary(engine)).values()
    assert (tally.requests, tally.rows, tally.equal) == (3, 2, 2)
    assert tally.failures == {"failed": 1}


async def test_a_summary_stays_the_same_until_it_is_acknowledged(rig: MakeRig) -> None:
    engine = table(rig).engine()
    connection, _, replies = connected(engine)

    async def shadowed() -> None:
        send(connection, 1, [mirrored([[1.0, 1.0]], [1.5])])
        await done(1, replies)

    def asked(acknowledged: int) -> Disagreements:
        ask(connection, acknowledged)
        connection.flush()
        return told(replies()[0])

    await shadowed()
    first = asked(0)
    await shadowed()
    await shadowed()
    assert asked(0) == first
    second = asked(1)
    assert (first.sequence, second.sequence) == (1, 2)
    requests = [sum(t.requests for _, t in one.tallies) for one in (first, second)]
    assert requests == [1, 2]
    ask(connection, 2)
    connection.flush()
    assert replies()[0].body == b""


async def test_predictions_that_have_come_are_answered_before_any_shadow(rig: MakeRig) -> None:
    engine = table(rig).engine()
    connection, _, replies = connected(engine)
    send(connection, 1, [mirrored([[1.0, 1.0]], [1.5])] * 500)
    body = json.dumps(one_input([1, 2], [1, 2], name="input")).encode()
    for id in range(2, 22):
        connection.data_received(frame_bytes(infer_frame(id, body)))
    answered = await done(21, replies)
    assert [frame.id for frame in answered] == [*range(2, 22), 1]


async def test_shadows_count_as_no_requests_of_their_version(rig: MakeRig) -> None:
    engine = table(rig).engine()
    connection, _, replies = connected(engine)
    before = msgspec.json.decode(engine.stats(), type=EngineStats)
    send(connection, 1, [mirrored([[1.0, 1.0]], [1.5])] * 20)
    await done(1, replies)
    after = msgspec.json.decode(engine.stats(), type=EngineStats)
    costs = {"run_fixed_ns": 0, "run_row_ns": 0, "batching_reason": "", "batching": True}
    assert msgspec.structs.replace(after, **costs) == msgspec.structs.replace(before, **costs)


async def test_the_oldest_are_dropped_where_the_queue_is_full(
    rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow_work, "MAX_REQUESTS", 4)
    engine = table(rig).engine()
    connection, _, replies = connected(engine)
    send(connection, 1, [mirrored([[1.0, 1.0]], [1.5])] * 3)
    send(connection, 2, [mirrored([[1.0, 1.0]], [1.5])] * 3)
    answers = {frame.id: (frame.a, frame.b) for frame in await done(2, replies)}
    assert answers == {1: (1, 2), 2: (3, 0)}
    [tally] = (await summary(engine)).values()
    assert tally.requests == 4


async def test_what_has_waited_too_long_is_dropped(rig: MakeRig) -> None:
    made = table(rig)
    now = [1_000_000_000]
    engine = Engine(
        made.signature,
        made.batcher(),
        made.engine().hello,
        report_defect=made.defects.append,
        clock_ns=lambda: now[0],
    )
    connection, _, replies = connected(engine)
    send(connection, 1, [mirrored([[1.0, 1.0]], [1.5])] * 3, left_ms=10)
    now[0] += 20_000_000
    [frame] = await done(1, replies)
    assert (frame.a, frame.b) == (0, 3)
    assert await summary(engine) == {}


async def test_an_engine_that_ends_compares_nothing_more(rig: MakeRig) -> None:
    engine = table(rig).engine()
    connection, _, replies = connected(engine)
    send(connection, 1, [mirrored([[1.0, 1.0]], [1.5])] * 3)
    engine.shadows.close()
    send(connection, 2, [mirrored([[1.0, 1.0]], [1.5])])
    answers = {frame.id: (frame.a, frame.b) for frame in await done(2, replies)}
    assert answers == {1: (0, 3), 2: (0, 1)}


async def test_a_peer_that_sends_what_is_no_batch_is_cut_off(rig: MakeRig) -> None:
    unreadable = msgspec.msgpack.encode(MirrorBatch({"x": "age <"}, []))
    for body in (b"\x00", unreadable):
        connection, transport, _ = connected(table(rig).engine())
        frame = infer_frame(1, body)._replace(kind=Kind.SHADOW)
        connection.data_received(frame_bytes(frame))
        assert transport.aborted


async def test_long_runs_happen_in_the_thread_while_the_loop_goes_on(rig: MakeRig) -> None:
    made = rig(models.heavy(products=40))
    engine = made.engine(cost=made.cost)
    connection, _, replies = connected(engine)
    body = json.dumps(one_input([1, 2, 3], [1, 3])).encode()
    send(connection, 1, [mirrored([], [], body=body, operation=Operation.V2_INFER)])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not engine.idle
    await done(1, replies)
    [tally] = (await summary(engine)).values()
    assert tally.failures == {"unlike": 1}


# examples


async def kept_examples(rig: MakeRig, items: list[Mirrored]) -> Disagreements:
    engine = table(rig).engine()
    connection, _, replies = connected(engine)
    send(connection, 1, items)
    await done(1, replies)
    return msgspec.msgpack.decode(engine.disagreements(0), type=Disagreements)


async def test_rows_are_examples_only_where_their_payload_may_be_kept(rig: MakeRig) -> None:
    found = await kept_examples(rig, [mirrored([[1.0, 1.0]], [9.0])])
    assert found.examples == []


async def test_an_example_shows_the_row_that_differs_most(rig: MakeRig) -> None:
    rows = [[20.0, 1.0], [40.0, 2.0], [25.0, 3.0]]
    found = await kept_examples(rig, [mirrored(rows, [1.5, 7.5, 3.6], kept=True)])
    [example] = found.examples
    assert (example.row, example.difference, example.flipped) == (1, 5.0, False)
    assert example.inputs == {"age": 40.0, "income": 2.0}
    assert (example.answered, example.shadow) == ({"prediction": 7.5}, {"prediction": 2.5})
    assert (example.application, example.prediction_id, example.against) == ("shop", "p-1", 7)


async def test_examples_are_few_and_those_that_differ_most(rig: MakeRig) -> None:
    items = [
        mirrored([[1.0, 1.0]], [1.5 + number], kept=True, prediction_id=b"p-%d" % number)
        for number in (3, 0, 9, 1, 8, 2, 7, 4, 6, 5)
    ]
    found = await kept_examples(rig, items)
    kept = sorted(example.difference for example in found.examples)
    assert kept == [5.0, 6.0, 7.0, 8.0, 9.0][-MAX_EXAMPLES:]


async def test_requests_that_share_a_run_count_as_they_would_alone(rig: MakeRig) -> None:
    made = table(rig)
    items = [
        mirrored([[10.0 * n, float(n)], [20.0, 1.0]][: 1 + n % 2], [n + 0.5, 2.0][: 1 + n % 2],
                 application="shop" if n % 3 else "bank", version=6 + n % 2)
        for n in range(12)
    ]  # fmt: skip
    items.insert(5, mirrored([[1.0, 1.0]], "text"))
    items.insert(8, mirrored([[1.0, 1.0]], [[1.5, 2.0]]))
    items.insert(9, mirrored([[1.0]], [1.5]))
    together, alone = made.engine(), made.engine()
    connection, _, replies = connected(together)
    send(connection, 1, items, young="age<30")
    await done(1, replies)
    connection, _, replies = connected(alone)
    for id, item in enumerate(items):
        send(connection, id + 1, [item], young="age<30")
        await done(1, replies)
    assert await summary(together) == await summary(alone)


async def test_after_a_slice_the_engine_rests(rig: MakeRig) -> None:
    engine = table(rig).engine()
    connection, _, replies = connected(engine)
    send(connection, 1, [mirrored([[1.0, 1.0]], [1.5])] * 2_000)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not engine.shadows.due, "there is work, and it has to wait"
    [frame] = await done(1, replies)
    assert (frame.a, frame.b) == (2_000, 0)
