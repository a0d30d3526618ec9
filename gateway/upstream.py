"""The frame client: one multiplexed connection per engine.

Frames sent within one event-loop tick leave in one write. A request that is lost with its engine is
sent once more, to another engine, before anybody hears of it: an inference is pure.
"""

import asyncio
import socket
from collections.abc import Callable
from math import ceil
from typing import Protocol, cast

import msgspec

from gateway.reach import Reach
from protocol.errors import Code, TollwayError
from protocol.frames import (
    TURNED_AWAY,
    Frame,
    FrameDecoder,
    Hello,
    Kind,
    ProtocolError,
    auth_proof,
    encode_header,
)
from runtime.logs import logger

WRITE_BUFFER_BYTES = 64 << 20
"""What may wait to be written to an engine before it counts as congested."""

SEND_BUFFER_BYTES = 4 << 20
"""What the kernel may hold of an engine's requests; systems grant less where they are set so."""
UNANSWERED_MS = 5_000
"""Time after which bytes that no host acknowledges end a TCP connection."""

VersionKey = tuple[str, int]
"""Model name and version number."""


def notice_a_dead_host(raw: socket.socket) -> None:
    """Let the system close a TCP connection whose other end was switched off, within seconds."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS)


class Exchange:
    """A request on its way to an engine and back."""

    __slots__ = ("b", "body", "c", "deadline", "done", "flags", "kind", "retried", "sent")

    def __init__(
        self,
        body: bytes,
        deadline: float,
        done: Callable[[Frame | TollwayError], None],
        *,
        flags: int = 0,
        header_length: int = 0,
        max_rows: int = 0,
        kind: Kind = Kind.INFER,
    ) -> None:
        """``deadline`` in seconds of the loop's clock; ``done`` is called exactly once."""
        self.body = body
        self.deadline = deadline
        self.done = done
        self.flags = flags
        self.b = header_length
        self.c = max_rows
        self.kind = kind
        self.retried = False
        self.sent = 0.0


class EngineConnection(asyncio.Protocol):
    """An open connection to one engine."""

    def __init__(self, pool: "Pool", cluster_token: bytes) -> None:
        self._pool = pool
        self._token = cluster_token
        self._loop = asyncio.get_running_loop()
        self._decoder = FrameDecoder()
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._next_id = 0
        self.in_flight: dict[int, Exchange] = {}
        self.hello: Hello | None = None
        self.draining = False
        self.congested = False
        self.reach = Reach()
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        """Done when the engine has said who it is, or is gone."""
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def send(self, exchange: Exchange) -> int:
        """Put the exchange's frame into this tick's write. Returns its id."""
        self._next_id = id_ = (self._next_id + 1) & 0xFFFFFFFF
        self.in_flight[id_] = exchange
        now = exchange.sent = self._loop.time()
        left_ms = max(1, int(self.reach.left(exchange.deadline, now) * 1000))
        header = encode_header(
            exchange.kind,
            len(exchange.body),
            flags=exchange.flags,
            id=id_,
            a=left_ms,
            b=exchange.b,
            c=exchange.c,
        )
        self._write(header, exchange.body)
        return id_

    def cancel(self, id_: int) -> None:
        """Tell the engine that nobody waits for this answer any more."""
        if self.in_flight.pop(id_, None) is not None:
            self._write(encode_header(Kind.CANCEL, 0, id=id_))

    def close(self) -> None:
        """Close the connection; what is in flight counts as lost."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, *parts: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.extend(parts)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(out)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        # Several large bodies may be on their way at once; the default of 64 kB is less than one.
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if (raw := transport.get_extra_info("socket")) is not None:
            # A body then leaves in one write, also while the engine is busy and does not read.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            if raw.family != socket.AF_UNIX:
                notice_a_dead_host(raw)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                if frame.kind == Kind.REPLY:
                    # An id that is not in flight was cancelled or timed out meanwhile.
                    if (exchange := self.in_flight.pop(frame.id, None)) is not None:
                        self._replied(exchange, frame)
                else:
                    self._control_frame(frame)
        except (ProtocolError, msgspec.DecodeError) as error:
            logger("upstream").error("engine broke the protocol", error=str(error))
            self.close()

    def _replied(self, exchange: Exchange, frame: Frame) -> None:
        now = self._loop.time()
        if frame.flags == TURNED_AWAY:
            self.reach.turned_away(now, frame.b)
            self._pool.turned_away(self, exchange)
        else:
            if not frame.flags:
                self.reach.answered(now - exchange.sent, frame.a + frame.b)
            exchange.done(frame)

    def _control_frame(self, frame: Frame) -> None:
        if frame.kind == Kind.HELLO and self.hello is None:
            self.hello = msgspec.json.decode(frame.body, type=Hello)
            if self.hello.nonce:
                proof = auth_proof(self._token, self.hello.nonce)
                self._write(encode_header(Kind.AUTH, len(proof)), proof)
            self._pool.opened(self)
            self._is(self.greeted)
        elif frame.kind == Kind.DRAIN:
            self.draining = True
            self._pool.left(self)
        else:
            raise ProtocolError(f"unexpected frame of kind {frame.kind}")

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        lost, self.in_flight = self.in_flight, {}
        if self.hello is not None:
            self._pool.lost(self, list(lost.values()))
        self._is(self.greeted)
        self._is(self.closed)

    @staticmethod
    def _is(state: "asyncio.Future[None]") -> None:
        if not state.done():
            state.set_result(None)


class Pool(Protocol):
    """What a connection tells of itself."""

    def opened(self, connection: EngineConnection) -> None:
        """HELLO has arrived."""

    def left(self, connection: EngineConnection) -> None:
        """The engine takes nothing new; what is in flight will be answered."""

    def turned_away(self, connection: EngineConnection, exchange: Exchange) -> None:
        """The engine could not have kept the deadline."""

    def lost(self, connection: EngineConnection, unanswered: list[Exchange]) -> None:
        """The connection is closed."""


class Upstream:
    """Chooses among the open connections of a version."""

    SWEEP_S = 0.01
    """How exactly deadlines are kept."""

    def __init__(self, *, max_in_flight: int, digest_of: Callable[[str, int], str | None]) -> None:
        """``digest_of(model, version)`` is the manifest digest that an engine must announce."""
        self._max_in_flight = max_in_flight
        self._digest_of = digest_of
        self._ready: dict[VersionKey, list[EngineConnection]] = {}
        self._open: set[EngineConnection] = set()
        self._sweeping = False
        self._loop = asyncio.get_running_loop()
        self.retries = 0
        """Exchanges that were sent again because their engine was lost."""
        self.unreachable = 0
        """Requests refused because no engine could have kept their deadline."""

    def is_ready(self, key: VersionKey) -> bool:
        """Whether an engine would take a request for this version now."""
        return key in self._ready

    def connections(self, key: VersionKey) -> list[EngineConnection]:
        """The connections that take requests for this version."""
        return list(self._ready.get(key, ()))

    def in_flight(self) -> int:
        """Requests that wait for an engine."""
        return sum(len(connection.in_flight) for connection in self._open)

    def send(self, key: VersionKey, exchange: Exchange) -> None:
        """Send to the least loaded engine that can keep the deadline.

        Raises ``NOT_READY``, ``QUEUE_FULL`` or ``DEADLINE_UNREACHABLE``.
        """
        group = self._ready.get(key)
        if not group:
            raise TollwayError(
                Code.NOT_READY,
                f"no engine is ready for '{key[0]}' version {key[1]}: try again soon",
            )
        connection = group[0]
        now, deadline = self._loop.time(), exchange.deadline
        if len(group) > 1:
            connection = min(
                group, key=lambda c: (c.congested, c.reach.late(deadline, now), len(c.in_flight))
            )
        if late_s := connection.reach.late(deadline, now):
            raise self._unreachable(key, late_s)
        if connection.congested or len(connection.in_flight) >= self._max_in_flight:
            raise TollwayError(Code.QUEUE_FULL, f"the queue of '{key[0]}' is full: try again soon")
        connection.send(exchange)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(self.SWEEP_S, self._sweep)

    def _unreachable(self, key: VersionKey, late_s: float) -> TollwayError:
        self.unreachable += 1
        return TollwayError(
            Code.DEADLINE_UNREACHABLE,
            f"'{key[0]}' is too busy to answer within the request's deadline: try again soon, or "
            "allow more time",
            retry_after_s=max(1, ceil(late_s)),
        )

    async def close(self) -> None:
        """Close every connection; what is still in flight is answered ``NOT_READY``."""
        self._ready.clear()
        closing = list(self._open)
        for connection in closing:
            connection.close()
        await asyncio.gather(*(connection.closed for connection in closing))

    def verify(self) -> None:
        """Choose only among engines whose version is configured with the digest they announced."""
        self._ready.clear()
        for connection in self._open:
            if self._expected(connection) and not connection.draining:
                self._add(connection)

    def opened(self, connection: EngineConnection) -> None:
        self._open.add(connection)
        if self._expected(connection):
            self._add(connection)

    def _add(self, connection: EngineConnection) -> None:
        hello = connection.hello
        assert hello is not None
        self._ready.setdefault((hello.model, hello.version), []).append(connection)

    def _expected(self, connection: EngineConnection) -> bool:
        hello = connection.hello
        assert hello is not None
        return self._digest_of(hello.model, hello.version) == hello.digest

    def left(self, connection: EngineConnection) -> None:
        hello = connection.hello
        if hello is None:
            return
        key = (hello.model, hello.version)
        group = self._ready.get(key, [])
        if connection in group:
            group.remove(connection)
        if not group:
            self._ready.pop(key, None)

    def turned_away(self, connection: EngineConnection, exchange: Exchange) -> None:
        hello = connection.hello
        assert hello is not None
        key = (hello.model, hello.version)
        if exchange.retried:
            late_s = connection.reach.late(exchange.deadline, self._loop.time())
            exchange.done(self._unreachable(key, late_s))
            return
        self._again(key, exchange)

    def _again(self, key: VersionKey, exchange: Exchange) -> None:
        """Send once more, to an engine that can take it."""
        exchange.retried = True
        try:
            self.send(key, exchange)
        except TollwayError as error:
            exchange.done(error)

    def lost(self, connection: EngineConnection, unanswered: list[Exchange]) -> None:
        self._open.discard(connection)
        self.left(connection)
        hello = connection.hello
        assert hello is not None
        for exchange in unanswered:
            # Only an inference is the same on any engine.
            again = exchange.kind is Kind.INFER and not exchange.retried
            if not again or exchange.deadline <= self._loop.time():
                exchange.done(_stopped(hello))
                continue
            self.retries += 1
            self._again((hello.model, hello.version), exchange)

    def _sweep(self) -> None:
        """Answer what has passed its deadline: one timer for all requests, none per request."""
        now = self._loop.time()
        self._sweeping = False
        for connection in self._open:
            for id_ in [i for i, e in connection.in_flight.items() if e.deadline <= now]:
                exchange = connection.in_flight[id_]
                connection.cancel(id_)
                exchange.done(_too_late())
            self._sweeping = self._sweeping or bool(connection.in_flight)
        if self._sweeping:
            self._loop.call_later(self.SWEEP_S, self._sweep)


def _stopped(hello: Hello) -> TollwayError:
    return TollwayError(
        Code.NOT_READY,
        f"the engine of '{hello.model}' version {hello.version} stopped: try again soon",
    )


def _too_late() -> TollwayError:
    return TollwayError(Code.DEADLINE_EXCEEDED, "the deadline passed before the answer was there")
