"""Control's answers as httpx clients get them: framing, reuse of connections, what goes wrong."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from runtime.addresses import control_client
from runtime.control_transport import ControlTransport
from tests.gateway.conftest import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Answering = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def path() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="tw-")
    yield f"{folder}/c.sock"
    shutil.rmtree(folder)


class Control:
    """Answers every request of a connection by ``answering``, until that raises."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.connections = 0
        self.open = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._answering(head, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


def always(*parts: bytes, ends: bool = False) -> Answering:
    async def answering(
        _head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        if ends:
            raise ConnectionError

    return answering


@asynccontextmanager
async def control(
    path: str, answering: Answering
) -> AsyncIterator[tuple[Control, httpx.AsyncClient]]:
    fake = Control(answering)
    server = await asyncio.start_unix_server(fake.connected, path)
    try:
        async with control_client(f"unix:{path}", "token", timeout_s=5) as client:
            yield fake, client
    finally:
        server.close()


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "ends"),
    [
        ((LENGTH, b"abc", b"def"), False),
        ((CHUNKED + b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n"), False),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH + b"abcdef",), False),
        ((b"HTTP/1.1 200 OK\r\n\r\nabc", b"def"), True),
    ],
)
async def test_answers_of_every_framing_are_whole(
    path: str, parts: tuple[bytes, ...], ends: bool
) -> None:
    async with control(path, always(*parts, ends=ends)) as (fake, client):
        for _ in range(2):
            assert (await client.get("/x")).content == b"abcdef"
        assert fake.connections == (2 if ends else 1)


@pytest.mark.parametrize(
    ("method", "answer", "kept"),
    [
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", True),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", True),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", False),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", False),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", False),
    ],
)
async def test_answers_without_a_body_end_with_their_head(
    path: str, method: str, answer: bytes, kept: bool
) -> None:
    async with control(path, always(answer)) as (fake, client):
        for _ in range(2):
            assert (await client.request(method, "/x")).content == b""
        assert fake.connections == (1 if kept else 2)


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_arrive_as_they_were_given(path: str, chunked: bool) -> None:
    found: list[bytes] = []

    async def answering(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        lower = head.lower()
        assert b"authorization: bearer token" in lower
        if b"transfer-encoding: chunked" in lower:
            found.append(await reader.readuntil(b"0\r\n\r\n"))
        else:
            length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
            found.append(await reader.readexactly(length))
        writer.write(OK)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    body: Any = pieces() if chunked else b"abcd" * 100_000
    async with control(path, answering) as (fake, client):
        assert (await client.post("/x", content=body)).text == "ok"
        assert (await client.post("/x", content=b"2")).text == "ok"
        assert fake.connections == 1
    assert found == [b"4\r\nabcd\r\n0\r\n\r\n" if chunked else b"abcd" * 100_000, b"2"]


async def test_nobody_there_is_a_failed_connection(path: str) -> None:
    async with control_client(f"unix:{path}", "token") as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/x")


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"HTTP/1.1 200 OK\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",),
        (b"220 smtp.example ESMTP\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",),
    ],
)
async def test_an_answer_that_breaks_off_or_is_none_is_a_broken_protocol(
    path: str, parts: tuple[bytes, ...]
) -> None:
    async with control(path, always(*parts, ends=True)) as (_, client):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/x")


async def test_silence_ends_by_the_clients_own_timeout(path: str) -> None:
    async def silent(*_: object) -> None:
        await asyncio.sleep(30)

    async with control(path, silent) as (fake, client):
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/x", timeout=0.05)
        assert fake.connections == 1


@pytest.mark.parametrize(
    "more", [OK.replace(b"ok", b"no"), b"HTTP/1.1 201 X\r\nx: ", b"H", b"nonsense"]
)
async def test_what_follows_an_answer_is_nobodys(path: str, more: bytes) -> None:
    """What comes unasked must not become the answer to whoever asks next, nor its beginning."""
    async with control(path, always(OK + more)) as (fake, client):
        for _ in range(3):
            assert (await client.get("/x")).text == "ok"
        assert fake.connections == 3


async def test_what_is_said_unasked_ends_a_kept_connection(path: str) -> None:
    async with control(path, always(OK, OK.replace(b"ok", b"no"))) as (fake, client):
        assert (await client.get("/x")).text == "ok"
        await asyncio.sleep(0.05)
        assert (await client.get("/x")).text == "ok"
        assert fake.connections == 2


async def test_an_answer_that_is_not_read_to_its_end_takes_its_connection_with_it(
    path: str,
) -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + bytes(100_000)
    async with control(path, always(endless)) as (fake, client):
        async with client.stream("GET", "/x") as answer:
            assert await anext(answer.aiter_raw())
        await until(lambda: fake.open == 0)


async def test_an_answer_that_is_here_and_was_not_read_is_in_nobodys_way(path: str) -> None:
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000)
    async with control(path, always(large)) as (_, client):
        for _ in range(3):
            async with client.stream("GET", "/x"):
                await asyncio.sleep(0.05)
        assert len((await client.get("/x")).content) == 1_000_000


async def test_a_request_given_up_as_its_answer_arrives_harms_nobody(path: str) -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    asked = asyncio.Event()

    async def answering(
        head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if head.startswith(b"GET /given-up"):
            asked.set()
            await asyncio.sleep(0.01)
        writer.write(OK)

    async with control(path, answering) as (fake, client):
        for wait_s in (0.0, 0.009, 0.01, 0.011):
            asked.clear()
            request = asyncio.create_task(client.get("/given-up"))
            await asked.wait()
            await asyncio.sleep(wait_s)
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            assert (await client.get("/x")).text == "ok"
    await asyncio.sleep(0.05)
    assert not failures
    assert fake.open == 0


async def test_an_answer_that_is_taken_slowly_stops_at_its_sender(path: str) -> None:
    sent = 0

    async def answering(
        _head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(500):
            writer.write(bytes(100_000))
            await writer.drain()
            sent += 100_000

    async with control(path, answering) as (_, client), client.stream("GET", "/x") as answer:
        await asyncio.sleep(0.3)
        assert sent < 5_000_000
        assert sum([len(piece) async for piece in answer.aiter_raw()]) == 50_000_000


async def test_control_may_be_on_another_machine() -> None:
    fake = Control(always(OK))
    server = await asyncio.start_server(fake.connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with httpx.AsyncClient(
        transport=ControlTransport(f"http://127.0.0.1:{port}"), base_url=f"http://127.0.0.1:{port}"
    ) as client:
        assert (await client.get("/x")).text == "ok"
    server.close()
