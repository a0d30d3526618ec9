"""A connection to control: HTTP/1.1 over a Unix socket or TCP.

What talks to control is in the loop that predicts, too, so what that costs is what predictions wait
(decision 29). A client of general use took five to eight times as long.
"""

import asyncio
from http import HTTPStatus
from typing import Final, NamedTuple, cast

import httptools

BUFFERED_BYTES: Final = 256 << 10
"""What may wait here of an answer that its client takes more slowly than control sends it."""
_CLOSED: Final = "control has closed the connection"

Headers = list[tuple[bytes, bytes]]


class ControlLost(ConnectionError):  # noqa: N818 -- says what happened
    """Control has ended the connection before its answer did, or its answer is none."""


class Head(NamedTuple):
    """How an answer begins."""

    status: int
    headers: Headers
    """Names in lower case."""


def request_head(method: str, target: bytes, headers: Headers) -> bytes:
    """A request's line and its headers, which have to say how its body is framed."""
    parts = [method.encode(), b" ", target, b" HTTP/1.1\r\n"]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def chunked(data: bytes, *, last: bool) -> bytes:
    """A piece of a body whose length is not said beforehand (RFC 9112, 7.1)."""
    chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
    return chunk + b"0\r\n\r\n" if last else chunk


class ControlConnection(asyncio.Protocol):
    """A connection to control, and the request that it is lent to."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[None] | None = None
        """Of whoever reads the answer."""
        self._writable: asyncio.Future[None] | None = None
        self._patience: asyncio.Timeout | None = None
        """Of that reader: control may be silent while it is written to."""
        self._until_end = self._bodiless = self._paused = False
        self._silence_s: float | None = None
        self._headers: Headers = []
        self._head: Head | None = None
        self._body: list[bytes] = []
        self._buffered = 0
        self.used = False
        """Whether an earlier request had this connection."""
        self.invited: asyncio.Future[bool] = self._loop.create_future()
        """Whether control asks for the body (RFC 9110, 10.1.1); False: it answers without."""
        self.complete = False
        """Whether the answer is here as a whole."""
        self.reusable = False
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether control can be reached by this connection."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_spare(self) -> bool:
        """Whether the next request may have it: the answer is here, and was read to its end."""
        return self.reusable and not self._body and self.is_open

    @property
    def has_news(self) -> bool:
        """Whether :meth:`read` would return at once."""
        return bool(self._body) or self.complete or self._transport is None

    def begin(self, request: bytes, *, bodiless: bool, silence_s: float | None) -> None:
        """Send a request's head and what is there of its body. ``bodiless``: the answer has no
        body, whatever its head says (RFC 9110, 9.3.2). ``silence_s``: how long control may say
        nothing while nothing is written to it, or take nothing of what is."""
        self._bodiless = bodiless
        self._silence_s = silence_s
        self._head, self._headers, self._body, self._buffered = None, [], [], 0
        self.complete = self.reusable = self._until_end = False
        self.invited = self._loop.create_future()
        self.write(request)

    def write(self, data: bytes) -> None:
        """Send more of the body. What is written to a connection that is closed is lost."""
        if self._transport is not None:
            self._transport.write(data)
        patience = self._patience
        if patience is not None and self._silence_s is not None and not patience.expired():
            patience.reschedule(self._loop.time() + self._silence_s)

    async def drain(self) -> None:
        """Wait until control has taken most of what was written. Raises ``TimeoutError``."""
        if self._writable is not None:
            async with asyncio.timeout(self._silence_s):
                await asyncio.shield(self._writable)

    async def head(self) -> Head:
        """How control's answer begins. Raises :class:`ControlLost` or ``TimeoutError``."""
        while self._head is None:
            await self._news()
        return self._head

    async def read(self) -> bytes:
        """What is there of the answer's body; empty only at its end. Raises like :meth:`head`."""
        while not self._body and not self.complete:
            await self._news()
        piece = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body, self._buffered = [], 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return piece

    def close(self) -> None:
        """Give the connection up, and with it the request."""
        if self._transport is not None:
            self._transport.abort()

    async def _news(self) -> None:
        if self._transport is None:
            raise ControlLost(_CLOSED)
        self._waiting = self._loop.create_future()
        try:
            async with asyncio.timeout(self._silence_s) as self._patience:
                await self._waiting
        finally:
            self._waiting = self._patience = None

    def _tell(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=BUFFERED_BYTES)

    def data_received(self, data: bytes) -> None:
        if self.reusable:  # nothing was asked
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.close()
            return
        if self.complete and self._bodiless and not self.reusable:
            self.close()  # the parser waits for a body that does not come
        elif self._buffered > BUFFERED_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None:
            writable.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if exc is None and self._head is not None and self._until_end:
            self.complete = True
        self.reusable = False
        self.resume_writing()
        self._invite(asked=False)
        self._tell()

    # the parser's events

    def on_message_begin(self) -> None:
        if self.complete:
            raise ControlLost("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._invite(asked=status == HTTPStatus.CONTINUE)
        headers, self._headers = self._headers, []
        if status < HTTPStatus.OK:
            return  # another head follows
        self._head = Head(status, headers)
        self._until_end = all(
            name not in {b"content-length", b"transfer-encoding"} for name, _ in headers
        )
        self.complete = self._bodiless
        self._tell()

    def on_body(self, body: bytes) -> None:
        if self.complete:
            return
        self._body.append(body)
        self._buffered += len(body)
        self._tell()

    def on_message_complete(self) -> None:
        if self._head is None:
            return  # of a head that another one follows
        self.reusable = self._parser.should_keep_alive()
        self.complete = True
        self._tell()

    def _invite(self, *, asked: bool) -> None:
        if not self.invited.done():
            self.invited.set_result(asked)
