"""The load generator against servers whose answers are known."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from benchmarks.load import drive
from benchmarks.measure import BackgroundLoad
from benchmarks.spec import Exchange, LoadSpec

Handler = Callable[[bytes], Awaitable[list[bytes]]]
"""Body of a request -> pieces of the answer; an empty list closes the connection."""

RIGHT = json.dumps({"outputs": [{"name": "label", "data": [[1]]}]}).encode()


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    talks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        talks.add(talk)
        try:
            with contextlib.suppress(ConnectionError):
                await converse(reader, writer, handler)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


async def converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler
) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            pieces = await handler(await reader.readexactly(length))
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if not pieces:
                return


def spec(port: int, **changes: Any) -> LoadSpec:
    settings: dict[str, Any] = {
        "connections": 2,
        "seconds": 5.0,
        "warm_up_s": 0.0,
        "drain_s": 0.5,
        "max_requests": 40,
        "sample_every": 1,
        "exchanges": [Exchange(body=b'{"row": 1}', expected={"label": [1.0]})],
    }
    return LoadSpec(
        host="127.0.0.1", port=port, path="/infer", api_key="key", **(settings | changes)
    )


async def right(_body: bytes) -> list[bytes]:
    return [answer(RIGHT)]


async def test_every_answer_is_counted_and_compared() -> None:
    async with serving(right) as port:
        result = await drive(spec(port))
    assert result.answered == result.measured == result.verified == 40
    assert result.statuses == {"200": 40}
    assert result.errors == 0
    assert 0 < result.latency.p50_ms <= result.latency.p99_ms <= result.latency.max_ms


async def test_an_answer_in_single_bytes_is_one_answer() -> None:
    async def dribble(_body: bytes) -> list[bytes]:
        whole = answer(RIGHT)
        return [whole[index : index + 1] for index in range(len(whole))]

    async with serving(dribble) as port:
        result = await drive(spec(port, max_requests=4))
    assert result.verified == 4
    assert result.errors == 0


async def test_a_wrong_value_is_an_error_that_says_which() -> None:
    async def wrong(_body: bytes) -> list[bytes]:
        return [answer(RIGHT.replace(b"1", b"0"))]

    async with serving(wrong) as port:
        result = await drive(spec(port))
    assert result.wrong == result.errors == 40
    assert "'label'[0] is 0.0" in result.first_failure


async def test_answers_that_belong_to_other_requests_are_found() -> None:
    async def mixed_up(body: bytes) -> list[bytes]:
        other = 1 - json.loads(body)["row"]
        return [answer(json.dumps({"outputs": [{"name": "label", "data": [other]}]}).encode())]

    exchanges = [
        Exchange(body=json.dumps({"row": row}).encode(), expected={"label": [float(row)]})
        for row in (0, 1)
    ]
    async with serving(mixed_up) as port:
        result = await drive(spec(port, exchanges=exchanges))
    assert result.wrong == 40


async def test_other_statuses_are_errors() -> None:
    async def busy(_body: bytes) -> list[bytes]:
        return [answer(b'{"error": "queue full"}', "503 Service Unavailable")]

    async with serving(busy) as port:
        result = await drive(spec(port))
    assert result.statuses == {"503": 40}
    assert result.errors == 40
    assert result.answered == 0
    assert "queue full" in result.first_failure


async def test_a_connection_lost_before_its_answer_is_an_error() -> None:
    async def hang_up(_body: bytes) -> list[bytes]:
        return []

    async with serving(hang_up) as port:
        result = await drive(spec(port))
    assert result.broken == result.errors == 2


async def test_a_lost_connection_is_opened_again_when_asked_to() -> None:
    served = 0

    async def every_third_hangs_up(_body: bytes) -> list[bytes]:
        nonlocal served
        served += 1
        return [] if served % 3 == 0 else [answer(RIGHT)]

    async with serving(every_third_hangs_up) as port:
        result = await drive(spec(port, reconnect=True))
    assert result.broken == 13
    assert result.answered == 27


async def test_a_server_that_closes_politely_costs_no_error() -> None:
    async def one_each(_body: bytes) -> list[bytes]:
        return [answer(RIGHT, "200 OK", "Connection: close")]

    async with serving(one_each) as port:
        result = await drive(spec(port))
    assert result.answered == 40
    assert result.errors == 0
    assert result.reconnects > 0


async def test_a_request_that_is_never_answered_is_an_error() -> None:
    async def silence(_body: bytes) -> list[bytes]:
        await asyncio.Event().wait()
        return []

    async with serving(silence) as port:
        result = await drive(spec(port, seconds=0.2, drain_s=0.2))
    assert result.unanswered == result.errors == 2


async def test_prediction_ids_are_kept_when_asked_for() -> None:
    async def with_id(_body: bytes) -> list[bytes]:
        return [answer(RIGHT, "200 OK", "Tollway-Prediction-Id: abc-1")]

    async with serving(with_id) as port:
        result = await drive(spec(port, keep_ids=True, max_requests=3))
    assert result.ids == ["abc-1"] * 3


async def test_a_result_that_no_pipe_holds_is_whole_however_late_it_is_asked_for() -> None:
    async def with_id(_body: bytes) -> list[bytes]:
        return [answer(RIGHT, "200 OK", f"Tollway-Prediction-Id: {'p' * 4000}")]

    async with serving(with_id) as port:
        chosen = spec(port, keep_ids=True, max_requests=50, seconds=5.0)
        with BackgroundLoad(chosen) as load:
            await asyncio.to_thread(load.wait)
            result = load.result()
    assert len(result.ids) == result.answered > 16
    assert {len(id_) for id_ in result.ids} == {4000}


async def test_chunked_answers_are_read_however_they_come() -> None:
    async def chunked(_body: bytes) -> list[bytes]:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = b"5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (RIGHT[:5], len(RIGHT) - 5, RIGHT[5:])
        whole = head + chunks
        return [whole[index : index + 7] for index in range(0, len(whole), 7)]

    async with serving(chunked) as port:
        result = await drive(spec(port))
    assert result.verified == 40
    assert result.errors == 0


async def test_binary_answers_are_compared() -> None:
    tensor = {"name": "label", "datatype": "INT64", "parameters": {"binary_data_size": 8}}
    head = json.dumps({"outputs": [tensor]}).encode()

    async def binary(_body: bytes) -> list[bytes]:
        length = f"Inference-Header-Content-Length: {len(head)}"
        return [answer(head + (2).to_bytes(8, "little"), "200 OK", length)]

    async with serving(binary) as port:
        result = await drive(spec(port))
    assert result.wrong == 40
    assert "'label'[0] is 2.0" in result.first_failure


async def test_an_answer_without_a_length_stops_the_run() -> None:
    async def endless(_body: bytes) -> list[bytes]:
        return [b"HTTP/1.1 200 OK\r\n\r\n"]

    async with serving(endless) as port:
        with pytest.raises(ValueError, match="cannot read"):
            await drive(spec(port))


async def test_it_only_talks_to_this_machine() -> None:
    with pytest.raises(ValueError, match="loopback"):
        await drive(
            LoadSpec(
                host="192.0.2.1",
                port=80,
                path="/",
                api_key="",
                exchanges=[],
                connections=1,
                seconds=1,
            )
        )
