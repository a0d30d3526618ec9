"""Requests passed on byte by byte: from a client's socket to a scripted control, and back."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from gateway import routes_forward
from gateway.routes_forward import ControlProxy
from policies.addresses import Networks, TrustedProxies
from runtime.control_connections import ControlConnections
from runtime.server import serve_until
from runtime.strict_http import StrictHttpProtocol
from tests.gateway.conftest import until
from tests.gateway.sockets import connection, talk

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno"
CLOSE = b"Host: g\r\nConnection: close\r\n"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Control:
    """Has a script for each connection."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.begun = self.ended = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.begun += 1
        try:
            await self._script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended += 1
            writer.close()


@asynccontextmanager
async def before(run_dir: Path, script: Script) -> AsyncIterator[tuple[Control, int]]:
    """A port whose requests are passed on to control, which keeps to ``script``."""
    control = Control(script)
    path = str(run_dir / "c.sock")
    server = await asyncio.start_unix_server(control.connected, path)
    connections = ControlConnections(f"unix:{path}")
    proxy = ControlProxy(connections, TrustedProxies(Networks()))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        proxy, http=StrictHttpProtocol, lifespan="off", ws="none", log_config=None,
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    stop = asyncio.Event()
    serving = asyncio.create_task(serve_until(stop, config, [listener]))
    try:
        yield control, listener.getsockname()[1]
    finally:
        stop.set()
        await serving
        connections.close()
        server.close()


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def taking(size: int) -> Script:
    """Takes a body of so many bytes, then answers."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        await reader.readexactly(size)
        writer.write(OK)
        await writer.drain()

    return script


async def test_an_upload_that_control_refuses_is_never_asked_for(run_dir: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"expect: 100-continue\r\n" in await head_of(reader)
        writer.write(REFUSED)
        await writer.drain()

    head = b"PUT /u HTTP/1.1\r\n" + CLOSE + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    async with before(run_dir, script) as (_, port):
        answer = await talk(port, head)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in answer


async def test_an_upload_that_control_asks_for_is_asked_for(run_dir: Path) -> None:
    bodies: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        bodies.append(await reader.readexactly(9))
        writer.write(OK)
        await writer.drain()

    head = b"PUT /u HTTP/1.1\r\n" + CLOSE + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    async with before(run_dir, script) as (_, port), connection(port) as (reader, writer):
        writer.write(head)
        assert (await head_of(reader)).startswith(b"HTTP/1.1 100 ")
        writer.write(b"123456789")
        assert (await reader.read()).endswith(b"ok")
    assert bodies == [b"123456789"]


async def test_a_refusal_in_the_midst_of_an_upload_reaches_its_client(run_dir: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        await reader.readexactly(100_000)
        writer.write(REFUSED.replace(b"401 Unauthorized", b"413 Content Too Large"))
        await writer.drain()
        await asyncio.sleep(0.2)  # what is under way is left unread

    async with before(run_dir, script) as (control, port), connection(port) as (reader, writer):
        writer.write(b"PUT /u HTTP/1.1\r\nHost: g\r\nContent-Length: 50000000\r\n\r\n")
        writer.write(bytes(1_000_000))
        assert (await head_of(reader)).startswith(b"HTTP/1.1 413 ")
        await until(lambda: control.ended == 1)


async def test_an_upload_that_control_takes_slowly_stops_at_its_client(run_dir: Path) -> None:
    go_on = asyncio.Event()
    taken = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        await head_of(reader)
        await go_on.wait()
        while taken < 30_000_000:
            taken += len(await reader.read(1 << 16))
        writer.write(OK)
        await writer.drain()

    async with before(run_dir, script) as (_, port), connection(port) as (reader, writer):
        writer.write(b"PUT /u HTTP/1.1\r\n" + CLOSE + b"Content-Length: 30000000\r\n\r\n")
        writer.write(bytes(30_000_000))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.3)
        go_on.set()
        assert (await reader.read()).endswith(b"ok")
    assert taken == 30_000_000


async def test_chunks_pass_as_chunks(run_dir: Path) -> None:
    bodies: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await head_of(reader)
        assert head.count(b"transfer-encoding: chunked\r\n") == 1
        assert b"content-length" not in head
        bodies.append(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(OK)
        await writer.drain()

    head = b"POST /u HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n"
    async with before(run_dir, script) as (_, port):
        answer = await talk(port, head, b"3\r\nabc\r\n", b"4\r\ndefg\r\n", b"0\r\n\r\n")
    assert answer.endswith(b"ok")
    sizes = [line for line in bodies[0].split(b"\r\n") if line]
    assert b"".join(sizes[1::2]) == b"abcdefg"


async def test_a_connection_header_does_not_change_where_a_body_ends(run_dir: Path) -> None:
    """Without its length a body would be the next request, with a path of the client's choice."""
    heads: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await head_of(reader))
            await reader.readexactly(int(heads[-1].split(b"content-length: ")[1].split(b"\r\n")[0]))
            writer.write(OK)
            await writer.drain()

    smuggled = b"GET /internal/v1/changes HTTP/1.1\r\nHost: c\r\ncontent-length: 0\r\n\r\n"
    head = (
        b"POST /u HTTP/1.1\r\nHost: g\r\nX-Mine: 1\r\n"
        b"Connection: close, Content-Length, Host, X-Mine\r\nContent-Length: %d\r\n\r\n"
    )
    async with before(run_dir, script) as (_, port):
        answer = await talk(port, head % len(smuggled) + smuggled)
    assert answer.endswith(b"ok")
    [passed] = heads
    assert passed.startswith(b"POST /u HTTP/1.1\r\n")
    assert b"host: g\r\n" in passed
    assert b"x-mine" not in passed


@pytest.mark.parametrize(("method", "status"), [(b"GET", b"200"), (b"POST", b"503")])
async def test_a_kept_connection_that_ends_just_then_costs_no_read(
    run_dir: Path, method: bytes, status: bytes
) -> None:
    """A read is repeated once, on a new connection: one that kills control does so twice at most,
    however many connections were kept."""
    together = asyncio.Barrier(3)
    lost = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal lost
        first = await head_of(reader)
        if first.startswith(b"GET /kept"):
            await together.wait()
        writer.write(OK)
        await head_of(reader)  # the second request of this connection is lost with it
        lost += 1

    async with before(run_dir, script) as (control, port):
        kept = (talk(port, b"GET /kept HTTP/1.1\r\n" + CLOSE + b"\r\n") for _ in range(3))
        assert all(answer.endswith(b"ok") for answer in await asyncio.gather(*kept))
        answer = await talk(port, method + b" /b HTTP/1.1\r\n" + CLOSE + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert lost == 1
        assert control.begun == (4 if method == b"GET" else 3)


async def test_a_fresh_connection_that_ends_is_not_tried_for_ever(run_dir: Path) -> None:
    async def script(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await head_of(reader)

    async with before(run_dir, script) as (control, port):
        answer = await talk(port, b"GET /a HTTP/1.1\r\n" + CLOSE + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert control.begun == 1


async def test_a_client_that_leaves_takes_its_live_page_with_it(run_dir: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n\r\n\r\n")
        await writer.drain()
        await reader.readexactly(1)  # until the gateway leaves

    async with before(run_dir, script) as (control, port):
        async with connection(port) as (reader, writer):
            writer.write(b"GET /live HTTP/1.1\r\nHost: g\r\n\r\n")
            await head_of(reader)
            await asyncio.sleep(0.05)
            assert control.ended == 0
        await until(lambda: control.ended == 1)


async def test_an_answer_that_breaks_off_is_not_shown_as_whole(run_dir: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)

    async with before(run_dir, script) as (_, port):
        answer = await talk(port, b"GET /a HTTP/1.1\r\nHost: g\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert not answer.endswith(b"0\r\n\r\n")


async def test_a_body_that_does_not_come_is_refused_in_time(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_forward, "CLIENT_SILENCE_S", 0.1)

    head = b"PUT /u HTTP/1.1\r\n" + CLOSE + b"Content-Length: 9\r\n\r\n"
    async with before(run_dir, taking(9)) as (control, port):
        assert (await talk(port, head)).startswith(b"HTTP/1.1 408 ")
        async with connection(port) as (reader, writer):
            writer.write(head + b"1234")
            assert (await head_of(reader)).startswith(b"HTTP/1.1 408 ")
        await until(lambda: control.ended == control.begun)


async def test_an_upload_may_take_longer_than_control_may_be_silent(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_forward, "CONTROL_SILENCE_S", 0.3)

    async with before(run_dir, taking(10)) as (_, port), connection(port) as (reader, writer):
        writer.write(b"PUT /u HTTP/1.1\r\n" + CLOSE + b"Content-Length: 10\r\n\r\n")
        for _ in range(10):
            writer.write(b"x")
            await asyncio.sleep(0.1)
        assert (await reader.read()).endswith(b"ok")


@pytest.mark.parametrize(
    "lines",
    [
        b"Expect: 100-continue\r\nConnection: expect, close\r\n",
        b"Expect: something\r\nConnection: close\r\n",
        b"Expect: 100-continue\r\nExpect: something\r\nConnection: close\r\n",
    ],
)
async def test_gateway_and_control_agree_on_who_waits_for_whom(run_dir: Path, lines: bytes) -> None:
    """Control asks for the body as its own parser does: by the last ``Expect``."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        expects = [
            line.split(b": ")[1]
            for line in (await head_of(reader)).split(b"\r\n")
            if line.startswith(b"expect: ")
        ]
        if expects[-1:] == [b"100-continue"]:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await reader.readexactly(3)
        writer.write(OK)
        await writer.drain()

    head = b"PUT /u HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\n" + lines + b"\r\n"
    async with before(run_dir, script) as (_, port):
        assert (await talk(port, head + b"abc")).endswith(b"ok")


async def test_a_client_of_http_1_0_need_not_name_a_host(run_dir: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await head_of(reader)).count(b"host: control\r\n") == 1
        writer.write(OK)
        await writer.drain()

    async with before(run_dir, script) as (_, port):
        assert (await talk(port, b"GET /healthz HTTP/1.0\r\n\r\n")).endswith(b"ok")
