"""HTTP/1.1 on a public port: what two parsers could read in two ways is refused (RFC 9112).

A subclass of uvicorn's httptools protocol. llhttp itself refuses most of what request smuggling is
made of (Content-Length beside Transfer-Encoding, repeated lengths, folded and bare line ends, space
before the colon, malformed chunks); this adds what it lets pass, and what uvicorn does not do: the
answer to a bad request waits for those before it, and nothing after it is looked at.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from runtime.bad_request import BadRequest, Refusal, Unread, reason_of

MAX_HEAD_BYTES: Final = 64 << 10
"""Request line and header fields, white space and all."""
MAX_HEADERS: Final = 100
MAX_FRAMING_BYTES: Final = 16 << 10
"""What chunk sizes and extensions of one body may take beyond ``CHUNK_BYTES`` per chunk."""
CHUNK_BYTES: Final = 20
"""Longest size line without extension, and both line ends."""
PIECE: Final = 4 << 10
"""How exactly heads and chunk framing are measured: they are parsed in pieces of this at most."""
HEAD_WITHIN_S: Final = 20.0
"""Time for a connection's first request, and for any request's head once it has begun."""
LINGER_S: Final = 1.0
"""How long a client that is cut off may go on sending: closing on unread data resets the
connection, and the client may lose the answer that says why."""
_LINE_END: Final = b"\r\n"
_HEAD_END: Final = _LINE_END * 2
_HOST: Final = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=-]*(:[0-9]*)?|\[[0-9A-Fa-f:.]+\](:[0-9]*)?")


class StrictHttpProtocol(HttpToolsProtocol):
    """Takes one request after the other, and ends the connection at the first bad one."""

    cycle: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 -- uvicorn's
        super().__init__(*arguments, **options)
        self.last = False
        """Whether the connection ends with the present request: nothing after it is read."""
        self._deaf = self._lingers = False
        self._in_head = self._in_body = self._chunked = self._upgrading = False
        self._has_host = False
        self._host = b""
        self._tail = b""
        """The last bytes of a head or a chunked body, where its end may have begun."""
        self._empty = 0
        """How much there was of an empty line before the next request."""
        self._length = self._received = self._head_bytes = self._framing = 0
        self._head_ends_at = 0.0

    # what a subclass may choose to do with a request

    def begin_request(self) -> None:
        """A request's head is complete and in order. Here: it goes to the application."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the list that the scope holds
        super().on_headers_complete()

    def take_body(self, data: bytes) -> None:
        """A piece of the request's body has arrived."""
        super().on_body(data)

    def end_request(self) -> None:
        """The request is complete."""
        super().on_message_complete()

    # for a subclass that knows some requests without parsing them

    def between_requests(self) -> bool:
        """Whether what arrives next begins a request, whose turn it is at once."""
        return not (self._in_head or self._in_body or self._deaf or self.last or self._empty) and (
            self.cycle is None or self.cycle.response_complete
        )

    def is_plain(self) -> bool:
        """Whether the present request is one of many on its connection, and its Content-Length
        alone says where it ends."""
        return not (self.last or self._chunked or self._upgrading or self.expect_100_continue)

    def take_whole(self, begin: Callable[[], None]) -> None:
        """Begin a request that has arrived as a whole, and that the parser has not seen."""
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        self._in_body = True
        try:
            begin()
        except Exception as error:  # as inside the parser: a defect is answered, and told
            self._refuse(error)
        self._in_body = False

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 -- uvicorn's signature
        """A client has connected: its first request is due."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            HEAD_WITHIN_S, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, unless the connection is over."""
        if self._deaf:
            return
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        try:
            self._take(data)
        except httptools.HttpParserError as error:
            self._refuse(error)
        else:
            if self._in_head or self._empty:
                self._await_head()

    def shutdown(self) -> None:
        """The server ends: what is under way is answered first."""
        if self._lingers:
            self.transport.close()
        else:
            super().shutdown()

    # parsing

    def _take(self, data: bytes) -> None:
        """Parse in pieces that end where a head or a body does: the parser would not tell what it
        skips between two requests."""
        at, end = 0, len(data)
        while at < end:
            between = not (self._in_head or self._in_body)
            if between and (self._empty or data[at] in _LINE_END) and self._skips(data[at]):
                at += 1
                continue
            step = min(self._step(data, at), end - at)
            self._feed(data if step == end else memoryview(data)[at : at + step])
            at += step

    def _skips(self, byte: int) -> bool:
        """Whether what comes between two requests is an empty line: one is ignored (RFC 9112, 2.2),
        for some clients end a body with one."""
        if self._empty < len(_LINE_END) and byte == _LINE_END[self._empty]:
            self._empty += 1
            return True
        if self._empty == 1 or byte in _LINE_END:
            raise BadRequest("before the request line is more than one empty line, or half of one")
        return False

    def _step(self, data: bytes, at: int) -> int:
        """How many bytes surely hold no more than the end of the present head or body."""
        if self._in_body and not self._chunked:
            return max(1, self._length - self._received)
        # A chunked body ends as a head does: its trailer has no fields.
        tail, size = self._tail, len(_HEAD_END)
        found = (tail + data[at : at + size - 1]).find(_HEAD_END) if tail else -1
        if found >= 0:
            step = found + size - len(tail)
        else:
            found = data.find(_HEAD_END, at, at + PIECE)
            step = found + size - at if found >= 0 else PIECE
            if len(data) - at <= PIECE and _has_no_line_end(data, at + step):
                step = len(data) - at  # the common request: in the rest there is nothing to skip
        self._tail = b"" if found >= 0 else (tail + data[at : at + PIECE])[1 - size :]
        return step

    def _feed(self, data: bytes | memoryview) -> None:
        received = self._received
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on(data[upgrade.args[0] :])
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise BadRequest(f"the head is larger than {MAX_HEAD_BYTES} bytes", 431)
        elif self._chunked and self._in_body:
            self._framing += len(data) - (self._received - received)
            if self._framing > MAX_FRAMING_BYTES:
                raise BadRequest("the chunks' extensions are too large", 431)

    def _go_on(self, rest: bytes | memoryview) -> None:
        """A client that offers another protocol stays with this one (RFC 9110, 7.8). llhttp has
        stopped after the head: a new parser is told the head's framing and gets the body."""
        self._upgrading = False
        self.parser = httptools.HttpRequestParser(_Continued(self))
        framing = b"transfer-encoding: chunked" if self._chunked else b"content-length: %d"
        if not self._chunked:
            framing %= self._length
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        if rest:
            self._feed(rest)

    def on_message_begin(self) -> None:
        """A request begins. The ASGI scope is made when it turns out to be needed."""
        if self.last:
            raise Unread
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._in_head = True
        self._chunked = self._has_host = False
        self._empty = self._length = self._received = self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field has arrived."""
        if self._in_body:
            raise BadRequest("trailer fields are not taken")
        name, value = name.lower(), value.strip(b" \t")  # what surrounds a value is none of it
        check = _CHECKS.get(name)
        if check is not None:
            check(self, value)
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is complete: check it as a whole, then begin the request."""
        parser = self.parser
        version = parser.get_http_version()
        if version == "1.1":
            if not self._has_host:
                raise BadRequest("there is no Host")
            self.last = not parser.should_keep_alive()
        elif version == "1.0":
            if self._chunked:
                raise BadRequest("HTTP/1.0 has no Transfer-Encoding")
            self.last = True
        else:
            raise BadRequest("the version is neither 1.1 nor 1.0")
        if len(self.headers) > MAX_HEADERS:
            raise BadRequest(f"there are more than {MAX_HEADERS} header fields", 431)
        if b"#" in self.url:
            raise BadRequest("the target has a fragment")
        self._upgrading = parser.should_upgrade()
        if self._upgrading and parser.get_method() == b"CONNECT":
            raise BadRequest("this is no proxy")
        self.begin_request()
        self._in_head = False
        self._in_body = True
        self._framing = 0
        self._head_ends_at = 0.0

    def on_chunk_header(self) -> None:
        """A chunk's size has arrived, and its extensions."""
        self._framing -= CHUNK_BYTES

    def on_body(self, body: bytes) -> None:
        """A piece of a body has arrived."""
        self._received += len(body)
        self.take_body(body)

    def on_message_complete(self) -> None:
        """A request is complete."""
        if not self._upgrading:  # else its body follows, see _go_on
            self._in_body = False
            self.end_request()

    def _read_host(self, value: bytes) -> None:
        if self._has_host:
            raise BadRequest("Host is repeated")
        self._has_host = True
        if value != self._host:
            if _HOST.fullmatch(value) is None:
                raise BadRequest("Host is not a host and port")
            self._host = value

    def _read_length(self, value: bytes) -> None:
        self._length = int(value)  # llhttp has seen to it that these are digits, and not twice

    def _read_coding(self, value: bytes) -> None:
        if value.lower() != b"chunked":
            raise BadRequest("a Transfer-Encoding other than chunked is not taken")
        self._chunked = True

    def _read_expect(self, value: bytes) -> None:
        self.expect_100_continue = value.lower() == b"100-continue"

    # refusing

    def _refuse(self, error: Exception) -> None:
        """Answer a bad request in its turn, and look at nothing after it."""
        self._deaf = True
        if self.last and not self._in_body:
            return  # the connection ends anyway, with the answer to what came before
        found = Refusal(reason_of(error))
        cycle, self.cycle = self.cycle, found
        if not self._in_body:  # a request of its own, not one that has begun
            if cycle is None or cycle.response_complete:
                self._answer(found)
            else:
                self.flow.pause_reading()
                self.pipeline.appendleft((found, self.app))  # type: ignore[arg-type]
            return
        if cycle.response_complete:
            self._end()
            return
        cycle.disconnected = True  # to whoever waits for its body, the client is gone
        cycle.message_event.set()
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.flow.pause_reading()
            self.pipeline[0] = (found, self.app)  # type: ignore[assignment]
        elif getattr(cycle, "response_started", False):
            self._end()
        else:
            self._answer(found)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401 -- uvicorn's
        """It is the turn of a request that was pipelined, or of one for the application."""
        if isinstance(cycle, Refusal):
            self._answer(cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def _answer(self, refusal: Refusal) -> None:
        refusal.response_complete = True
        if self.transport.is_closing():
            return
        body = msgspec.json.encode({"error": f"the request is not taken: {refusal.error}"})
        lines = [b"%b: %b\r\n" % pair for pair in self.server_state.default_headers]
        self.transport.write(
            STATUS_LINE[refusal.error.status]
            + b"".join(lines)
            + b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            % len(body)
            + body
        )
        self._end()

    def _end(self) -> None:
        """End the connection, which the client may still be sending on."""
        self.last = self._deaf = self._lingers = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
            self.loop.call_later(LINGER_S, self.transport.close)
        else:  # TLS has no half-closed connections
            self.transport.close()

    def _await_head(self) -> None:
        """A head is incomplete: it has to be complete in time, however often some of it comes."""
        now = self.loop.time()
        if not self._head_ends_at:
            self._head_ends_at = now + HEAD_WITHIN_S
        if self.cycle is None or self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                max(0.0, self._head_ends_at - now), self.timeout_keep_alive_handler
            )


def _has_no_line_end(data: bytes, at: int) -> bool:
    return data.find(b"\n", at) < 0 and data.find(b"\r", at) < 0


_CHECKS: Final[dict[bytes, Callable[[StrictHttpProtocol, bytes], None]]] = {
    b"host": StrictHttpProtocol._read_host,
    b"content-length": StrictHttpProtocol._read_length,
    b"transfer-encoding": StrictHttpProtocol._read_coding,
    b"expect": StrictHttpProtocol._read_expect,
}


class _Continued:
    """Takes a parser's events after the first head, which the protocol knows already."""

    def __init__(self, protocol: StrictHttpProtocol) -> None:
        self._protocol = protocol
        self._told = False
        self.on_body = protocol.on_body
        self.on_chunk_header = protocol.on_chunk_header
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        if self._told:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._told:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._told:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._told:
            self._protocol.on_headers_complete()
        self._told = True
