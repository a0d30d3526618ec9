"""The engine: its path within one process, and its process over real sockets."""

import asyncio
import json
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from onnx import ModelProto

from protocol.frames import NO_HEADER, SHARED, TRACED, EngineStats, Frame, Kind, Operation
from serving.call import Call
from serving.connection import Connection
from serving.engine import Engine
from serving.tensors import Array
from tests.serving import models
from tests.serving.conftest import MakeRig
from tests.serving.peer import Peer, Started
from tests.serving.rig import infer_frame, one_input

BODY = json.dumps(one_input([1, 2, 3], [1, 3])).encode()
IDLE_RSS_MB = 85
"""Bound on an idle engine with a small model; about 70 here, other machines' libraries differ."""


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.aborted = False
        self.reading = True

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.writes.append(b"".join(list_of_data))

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def connected(engine: Engine) -> tuple[Connection, Transport, Callable[[], list[Frame]]]:
    """A connection without a socket, and what it has replied since the last look."""
    from protocol.frames import FrameDecoder

    connection, transport, decoder = Connection(engine), Transport(), FrameDecoder()
    connection.connection_made(transport)

    def replies() -> list[Frame]:
        data, transport.writes = b"".join(transport.writes), []
        return [frame for frame in decoder.feed(data) if frame.kind == Kind.REPLY]

    return connection, transport, replies


async def settle() -> None:
    """Let the loop take its turns."""
    for _ in range(5):
        await asyncio.sleep(0)


def frame_bytes(frame: Frame) -> bytes:
    from protocol.frames import encode_header

    header = encode_header(
        frame.kind,
        len(frame.body),
        flags=frame.flags,
        id=frame.id,
        a=frame.a,
        b=frame.b,
        c=frame.c,
    )
    return header + frame.body


async def test_what_arrives_in_one_read_leaves_in_one_write(rig: MakeRig) -> None:
    engine = rig(models.identity()).engine()
    connection, transport, replies = connected(engine)
    transport.writes.clear()
    connection.data_received(b"".join(frame_bytes(infer_frame(i, BODY)) for i in range(1, 9)))
    await settle()
    assert len(transport.writes) == 1
    answers = replies()
    assert [frame.id for frame in answers] == list(range(1, 9))
    assert {(frame.status, frame.flags, frame.c, frame.d) for frame in answers} == {
        (200, SHARED, 1, NO_HEADER)
    }
    batches = msgspec.json.decode(engine.stats(), type=EngineStats).batches
    assert {rows: batch.count for rows, batch in batches.items()} == {8: 1}


async def test_a_defect_at_one_answer_does_not_hold_up_those_who_wait(
    rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = rig(models.identity()).engine()
    engine._batcher.stop_merging("each is to have a turn")
    connection, _, replies = connected(engine)
    trace, failures = Connection.trace, [ZeroDivisionError("a defect")]

    def failing(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        trace(*arguments)

    monkeypatch.setattr(Connection, "trace", failing)
    traced = [infer_frame(id, BODY)._replace(flags=TRACED) for id in (1, 2)]
    connection.data_received(b"".join(map(frame_bytes, traced)))
    await settle()
    assert [frame.id for frame in replies()] == [2]


async def test_an_invalid_request_is_answered_and_its_neighbours_served(rig: MakeRig) -> None:
    connection, _, replies = connected(rig(models.identity()).engine())
    for id, body in ((1, BODY), (2, b"{"), (3, BODY)):
        connection.data_received(frame_bytes(infer_frame(id, body)))
    await settle()
    answers = {frame.id: frame for frame in replies()}
    assert (answers[2].status, answers[2].flags) == (400, 1)
    assert list(json.loads(answers[2].body)) == ["error"]
    assert answers[1].status == answers[3].status == 200


@pytest.mark.parametrize("v1", [False, True])
async def test_more_rows_than_the_plan_allows_are_refused_before_the_batch(
    rig: MakeRig, v1: bool
) -> None:
    engine = rig(models.identity()).engine()
    connection, _, replies = connected(engine)
    rows = [[1.0, 2.0, 3.0]] * 3
    v2 = one_input([1.0, 2.0, 3.0] * 3, [3, 3])
    body = json.dumps({"instances": rows} if v1 else v2).encode()
    flags = int(Operation.V1_PREDICT) if v1 else 0
    for id, limit in ((1, 0), (2, 2), (3, 3)):
        connection.data_received(frame_bytes(infer_frame(id, body, flags=flags, c=limit)))
    await settle()
    answers = {frame.id: frame for frame in replies()}
    assert {id: frame.status for id, frame in answers.items()} == {1: 200, 2: 413, 3: 200}
    (error,) = json.loads(answers[2].body).values()
    assert "3 rows" in error
    assert "max_rows" in error
    assert msgspec.json.decode(engine.stats(), type=EngineStats).inference_count == 6


async def test_a_full_queue_is_answered_503(rig: MakeRig) -> None:
    connection, _, replies = connected(rig(models.identity()).engine(max_requests=2))
    for id in (1, 2, 3):
        connection.data_received(frame_bytes(infer_frame(id, BODY)))
    await settle()
    refused = [frame for frame in replies() if frame.status == 503]
    assert [(frame.id, frame.body) for frame in refused] == [(3, b'{"error":"queue full"}')]


async def test_a_cancelled_request_gets_no_reply(rig: MakeRig) -> None:
    connection, _, replies = connected(rig(models.identity()).engine())
    connection.data_received(
        frame_bytes(infer_frame(1, BODY))
        + frame_bytes(infer_frame(2, BODY))
        + frame_bytes(infer_frame(1, b"")._replace(kind=Kind.CANCEL))
    )
    await settle()
    assert [frame.id for frame in replies()] == [2]
    assert not connection.calls


async def test_explain_says_that_there_are_no_background_rows(rig: MakeRig) -> None:
    connection, _, replies = connected(rig(models.identity()).engine())
    connection.data_received(frame_bytes(infer_frame(1, b"{}", flags=Operation.V1_EXPLAIN)))
    await settle()
    (answer,) = replies()
    assert answer.status == 422
    assert b"has no background rows: deploy it with X" in answer.body


async def test_a_defect_is_reported_and_answered_500_without_internals(
    rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rig(models.identity())
    connection, _, replies = connected(made.engine())

    def broken(feeds: list[Array | None]) -> list[Array]:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(made.session, "run", broken)
    connection.data_received(frame_bytes(infer_frame(1, BODY)))
    await settle()
    (answer,) = replies()
    assert (answer.status, answer.body) == (500, b'{"error":"internal error"}')
    assert [type(defect) for defect in made.defects] == [ZeroDivisionError]


async def test_a_long_run_leaves_the_loop_free_to_decode_and_queue(
    rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rig(models.identity())
    engine = made.engine()
    connection, _, replies = connected(engine)
    engine._batcher.cost.observe(1, 1, 1.0)  # as if a run took a second: it goes to the thread
    release, run = threading.Event(), made.session.run

    def slow(feeds: list[Array | None]) -> list[Array]:
        assert release.wait(10)
        return run(feeds)

    monkeypatch.setattr(made.session, "run", slow)
    connection.data_received(frame_bytes(infer_frame(1, BODY)))
    await settle()
    connection.data_received(frame_bytes(infer_frame(2, BODY)))
    connection.data_received(frame_bytes(infer_frame(3, b"{")))
    await settle()
    assert [(frame.id, frame.status) for frame in replies()] == [(3, 400)]
    release.set()
    await settle_until(lambda: engine.idle and not connection.calls)
    assert [(frame.id, frame.status) for frame in replies()] == [(1, 200), (2, 200)]
    engine.close()


async def settle_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- a thread's work
            await asyncio.sleep(0.001)


async def test_a_peer_that_does_not_read_is_not_read_from(rig: MakeRig) -> None:
    connection, transport, _ = connected(rig(models.identity()).engine())
    connection.pause_writing()
    assert not transport.reading
    connection.resume_writing()
    assert transport.reading


@pytest.mark.parametrize("data", [b"\0" * 28, b"\xff" * 28])
async def test_a_peer_that_breaks_the_protocol_is_cut_off(rig: MakeRig, data: bytes) -> None:
    connection, transport, _ = connected(rig(models.identity()).engine())
    connection.data_received(data)
    assert transport.aborted


async def test_an_id_in_flight_twice_cuts_the_peer_off(rig: MakeRig) -> None:
    connection, transport, _ = connected(rig(models.identity()).engine())
    connection.data_received(frame_bytes(infer_frame(1, BODY)) * 2)
    assert transport.aborted


def test_a_lost_connection_drops_its_requests(rig: MakeRig) -> None:
    engine = rig(models.identity()).engine()
    connection = Connection(engine)
    call = Call([], 1, None, None)  # type: ignore[arg-type]  # never encoded
    connection.calls[1] = call
    connection.connection_lost(None)
    assert call.cancelled


# The process


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts engine processes that are gone when the test ends."""
    started: list[Started] = []

    def begin(graph: ModelProto, **order: Any) -> Started:
        started.append(Started(graph, tmp_path, **order))
        return started[-1]

    yield begin
    for engine in started:
        engine.end()


async def test_an_engine_process_answers_over_its_private_socket(
    start: Callable[..., Started],
) -> None:
    engine = start(models.identity())
    assert engine.word.ready, engine.word.error
    process = psutil.Process(engine.process.pid)
    assert process.cmdline()[0].startswith("tollwayd: engine m/3#0")
    assert process.memory_info().rss < IDLE_RSS_MB << 20
    path = engine.order.address.removeprefix("unix:")
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    peer, hello = await Peer.connect(engine.order.address)
    assert (hello.model, hello.version, hello.digest, hello.nonce) == ("m", 3, "sha256:d", "")
    peer.infer(7, BODY)
    answer = await peer.reply(7)
    assert answer.status == 200
    assert answer.b > 0  # microseconds run
    peer.send(Kind.STATS, id=8)
    stats = msgspec.json.decode((await peer.reply(8)).body, type=EngineStats)
    assert (stats.success_count, stats.inference_count, stats.batching) == (1, 1, True)
    peer.writer.close()


async def test_sigterm_drains_and_answers_what_is_in_flight(start: Callable[..., Started]) -> None:
    engine = start(models.identity())
    peer, _ = await Peer.connect(engine.order.address)
    engine.process.send_signal(signal.SIGTERM)
    frame = await peer.read()
    assert frame is not None
    assert frame.kind == Kind.DRAIN
    assert msgspec.json.decode(frame.body, type=EngineStats).success_count == 0
    peer.infer(1, BODY)  # was on its way when the gateway read DRAIN
    assert (await peer.reply(1)).status == 200
    frame = await peer.read()
    assert frame is not None
    assert frame.kind == Kind.DRAIN, "its last counts"
    assert msgspec.json.decode(frame.body, type=EngineStats).success_count == 1
    assert await peer.read() is None
    peer.writer.close()
    assert await asyncio.to_thread(engine.process.wait, 10) == 0


async def test_over_tcp_a_peer_must_prove_the_cluster_token(start: Callable[..., Started]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp:127.0.0.1:{port}"
    assert start(models.identity(), address=address, cluster_token="right").word.ready
    peer, hello = await Peer.connect(address, b"right")
    assert hello.nonce
    peer.infer(1, BODY)
    assert (await peer.reply(1)).status == 200
    peer.writer.close()
    intruder, _ = await Peer.connect(address, b"wrong")
    assert await intruder.read() is None
    intruder.writer.close()


GOLDEN_REQUEST = one_input([1, 2], [1, 2], name="input")


def golden_response(value: float | None, shape: list[int] | None = None) -> object:
    return {"outputs": [{"name": "prediction", "shape": shape or [1, 1], "data": [value]}]}


@pytest.mark.parametrize(
    ("request_", "response", "error"),
    [
        (GOLDEN_REQUEST, golden_response(2.5), ""),
        (GOLDEN_REQUEST, golden_response(2.75), "output 'prediction'[0, 0] is 2.5, expected 2.75"),
        (GOLDEN_REQUEST, golden_response(None), "expected nan"),
        (GOLDEN_REQUEST, golden_response(2.5, [1]), "has shape [1, 1], expected [1]"),
        (one_input(["a", 2], [1, 2], name="input"), golden_response(2.5), "request is refused"),
        (GOLDEN_REQUEST, {}, "response is not readable"),
    ],
)
def test_golden_rows_decide_whether_an_engine_serves(
    start: Callable[..., Started], request_: object, response: object, error: str
) -> None:
    golden = models.golden_bytes(request_, response)
    engine = start(models.linear(2), golden_bytes=golden)
    assert engine.word.ready == (not error)
    assert error in engine.word.error
    if error:
        assert engine.process.wait(10) == 1


def test_an_artifact_that_does_not_load_is_reported(start: Callable[..., Started]) -> None:
    other = models.manifest_of(models.linear(2))
    engine = start(models.identity(), manifest=other)
    assert not engine.word.ready
    assert engine.word.error == "input 'input' is FP32 in the manifest, missing in the graph"
