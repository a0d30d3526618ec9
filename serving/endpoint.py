"""The worker's own ``/metrics``, ``/healthz`` and ``/readyz``: three GETs and no framework."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from serving.agent import Agent
from serving.metrics import scrape

READ_S: Final = 5.0
HEAD_BYTES: Final = 16 << 10
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


@contextlib.asynccontextmanager
async def serve_endpoint(bind: str | None, agent: Agent, token: str) -> AsyncIterator[int]:
    """Serve on ``host:port`` while the block runs; gives the port (0 when ``bind`` is None)."""
    if bind is None:
        yield 0
        return
    host, _, port = bind.rpartition(":")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), READ_S)
            request_line = head.split(b"\r\n", 1)[0]
            status, body = await _answer(request_line, agent, token)
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: {TEXT}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            if not request_line.startswith(b"HEAD "):
                writer.write(body)
            await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that does not speak HTTP, or is gone: nothing to answer
        finally:
            writer.close()

    server = await asyncio.start_server(connected, host.strip("[]"), int(port), limit=HEAD_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _answer(request_line: bytes, agent: Agent, token: str) -> tuple[str, bytes]:
    words = request_line.split(b" ")
    if words[0] not in (b"GET", b"HEAD"):
        return "405 Method Not Allowed", b"only GET\n"
    path = words[1].split(b"?")[0] if len(words) > 1 else b""
    states: dict[bytes, Callable[[], bool]] = {b"/healthz": lambda: True, b"/readyz": agent.ready}
    if path in states:
        good = states[path]()
        return ("200 OK", b"ok\n") if good else ("503 Service Unavailable", b"not ready\n")
    if path == b"/metrics":
        return "200 OK", (await scrape(agent.fleets.values(), token.encode())).encode()
    return "404 Not Found", b"not found\n"
