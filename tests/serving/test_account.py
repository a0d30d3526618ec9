"""What engines count, by a clock that the tests turn; and what traced requests are told."""

import asyncio
import json
from collections.abc import Callable

import msgspec

from protocol.errors import Code, TollwayError
from protocol.failures import Failure, failure_of
from protocol.frames import TRACED, EngineStats, EngineTrace, Frame, FrameDecoder, Kind
from serving.account import Account, BatchSizes
from serving.connection import Connection
from tests.serving import models
from tests.serving.conftest import MakeRig
from tests.serving.rig import infer_frame, one_input
from tests.serving.test_engine import Transport, frame_bytes, settle

BODY = json.dumps(one_input([1.0, 2.0, 3.0], [1, 3])).encode()


def test_durations_add_up_to_the_request() -> None:
    account = Account()
    # Two requests that arrived at 100 and 200, decoded in 10 each, shared a run of 50 that ended at
    # 400, and whose answers were written at 430.
    account.succeeds(
        2,
        arrived_ns=100 + 200,
        waited_ns=250 + 150,
        decode_ns=20,
        infer_ns=100,
        output_ns=30,
        now_ns=430,
    )
    assert account.success_ns == 330 + 230
    assert (account.queue_ns, account.input_ns) == (380, 20)
    assert (account.infer_ns, account.output_ns) == (100, 60)
    parts = account.queue_ns + account.input_ns + account.infer_ns + account.output_ns
    assert parts == account.success_ns


def test_failures_are_counted_by_tritons_reasons() -> None:
    account = Account()
    for code in (Code.QUEUE_FULL, Code.MALFORMED, Code.INFERENCE_FAILED, Code.INTERNAL):
        account.fails(TollwayError(code, "no"), 5)
    account.turns_away()
    account.cancels()
    assert account.failures == {
        Failure.OTHER: 1, Failure.REJECTED: 2, Failure.CANCELED: 1, Failure.BACKEND: 2,
    }  # fmt: skip
    assert (account.failed, account.fail_ns) == (6, 20)
    assert {failure_of(code) for code in Code} <= set(Failure)


def test_sizes_of_runs_are_bounded() -> None:
    sizes = BatchSizes(2)
    for rows in (1, 5, 9, 5):
        sizes.ran(rows, 10)
        sizes.answered(rows, 2, 3)
    assert {rows: (s.count, s.infer_ns, s.input_ns, s.output_ns) for rows, s in
            sizes.sizes.items()} == {1: (1, 10, 2, 3), 5: (2, 20, 4, 6)}  # fmt: skip


def connected(rig: MakeRig) -> tuple[Connection, Callable[[], EngineStats], list[Frame]]:
    engine = rig(models.identity()).engine()
    connection, transport, decoder = Connection(engine), Transport(), FrameDecoder()
    connection.connection_made(transport)
    frames: list[Frame] = []
    transport.write = transport.writelines = lambda data: frames.extend(
        decoder.feed(data if isinstance(data, bytes) else b"".join(data))
    )
    return connection, lambda: msgspec.json.decode(engine.stats(), type=EngineStats), frames


async def test_a_traced_request_is_told_before_its_answer(rig: MakeRig) -> None:
    connection, _, frames = connected(rig)
    for id, flags in ((1, 0), (2, TRACED), (3, 0)):
        connection.data_received(frame_bytes(infer_frame(id, BODY, flags=flags)))
    await settle()
    assert [(f.kind, f.id) for f in frames] == [
        (Kind.REPLY, 1), (Kind.TRACE, 2), (Kind.REPLY, 2), (Kind.REPLY, 3),
    ]  # fmt: skip
    told = msgspec.json.decode(frames[1].body, type=EngineTrace)
    assert (told.batch_rows, told.batch_requests) == (3, 3)
    parts = told.decode_us + told.queue_us + told.run_us + told.encode_us
    assert parts <= told.total_us
    assert frames[2].status == 200


async def test_a_traced_request_that_fails_has_its_error_alone(rig: MakeRig) -> None:
    connection, _, frames = connected(rig)
    connection.data_received(frame_bytes(infer_frame(1, b"{", flags=TRACED)))
    await settle()
    assert [(f.kind, f.status, f.b) for f in frames] == [(Kind.REPLY, 400, Failure.OTHER)]


async def test_an_engine_counts_what_was_answered_failed_and_given_up(rig: MakeRig) -> None:
    connection, stats, _ = connected(rig)
    for id, body in ((1, BODY), (2, b"{"), (3, BODY), (4, BODY)):
        connection.data_received(frame_bytes(infer_frame(id, body)))
    connection.data_received(frame_bytes(infer_frame(4, b"")._replace(kind=Kind.CANCEL)))
    await settle()
    found = stats()
    assert (found.success_count, found.fail_count) == (2, 2)
    assert found.failures == {"OTHER": 1, "REJECTED": 0, "CANCELED": 1, "BACKEND": 0}
    assert {rows: batch.count for rows, batch in found.batches.items()} == {2: 1}
    assert found.batches[2].input_ns == found.compute_input_ns > 0
    assert found.compute_infer_ns == 2 * found.run_ns
    assert found.compute_output_ns == 2 * found.batches[2].output_ns
    connection.connection_lost(None)
    await asyncio.sleep(0)
