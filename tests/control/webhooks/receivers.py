"""Receivers of deliveries on loopback: real sockets, real HTTP."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

Writer = asyncio.StreamWriter
Answer = Callable[["Received", Writer], Awaitable[None]]


class Received(NamedTuple):
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Keeps what it received; ``answer`` may be exchanged while it runs."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self.port = 0
        self.name_asked: str | None = None
        self._grown = asyncio.Condition()

    async def handle(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        """One connection: one request, one answer."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            request = Received(head[0], headers, body)
            async with self._grown:
                self.received.append(request)
                self._grown.notify_all()
            await self.answer(request, writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the sender has gone, as some tests have it
        finally:
            writer.close()

    async def count(self, number: int) -> list[Received]:
        """What was received, once it is so many."""
        async with asyncio.timeout(10), self._grown:
            await self._grown.wait_for(lambda: len(self.received) >= number)
        return self.received


def status(code: int, *headers: str, body: bytes = b"") -> Answer:
    """Answers with a status."""

    async def answer(_request: Received, writer: Writer) -> None:
        lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)

    return answer


@asynccontextmanager
async def receiving(
    answer: Answer | None = None, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver(answer or status(204))
    if tls is not None:

        def asked(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
            receiver.name_asked = name

        tls.sni_callback = asked
    server = await asyncio.start_server(receiver.handle, host, 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
