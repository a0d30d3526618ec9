"""A frame connection to one engine: multiplexed requests out, answers and news back.

Frames sent within one event-loop tick leave in one write.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

from gateway.load import Load
from gateway.reach import Reach
from policies.base import Call
from protocol.errors import TollwayError
from protocol.frames import (
    NOTES,
    TRACED,
    TURNED_AWAY,
    EngineStats,
    EngineTrace,
    Frame,
    FrameDecoder,
    Hello,
    Kind,
    ProtocolError,
    auth_proof,
    encode_header,
)
from protocol.receipts import Served
from runtime.logs import logger
from runtime.trace import Trace

VersionKey = tuple[str, int]
"""Model name and version number."""

WRITE_BUFFER_BYTES = 64 << 20
"""What may wait to be written to an engine before it counts as congested."""

SEND_BUFFER_BYTES = 4 << 20
"""What the kernel may hold of an engine's requests; systems grant less where they are set so."""
UNANSWERED_MS = 5_000
"""Time after which bytes that no host acknowledges end a TCP connection."""


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

    __slots__ = (
        "b", "body", "c", "call", "deadline", "done", "flags", "kind", "retried", "sent", "trace",
    )  # fmt: skip

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
        trace: Trace | None = None,
        call: Call | None = None,
    ) -> None:
        """``deadline`` in seconds of the loop's clock; ``done`` is called exactly once. ``trace``:
        set when the engine is to tell where the time goes. ``call`` is told who answered."""
        self.body = body
        self.deadline = deadline
        self.done = done
        self.flags = flags
        self.b = header_length
        self.c = max_rows
        self.kind = kind
        self.trace = trace
        self.call = call
        self.retried = False
        self.sent = 0.0


class EngineConnection(asyncio.Protocol):
    """An open connection to one engine."""

    def __init__(
        self,
        pool: "Pool",
        cluster_token: bytes,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``monotonic``: what times are measured by. It counts from where loops' clocks do, which
        deadlines are of, but those stand still during a tick, and uvloop's counts milliseconds."""
        self._pool = pool
        self._token = cluster_token
        self._monotonic = monotonic
        self._loop = asyncio.get_running_loop()
        self._decoder = FrameDecoder()
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._next_id = 0
        self.in_flight: dict[int, Exchange] = {}
        self.hello: Hello | None = None
        self.served: Served | None = None
        """What answers of this engine are named by."""
        self.draining = False
        self.woken = False
        """Whether WAKE was sent."""
        self.congested = False
        self.reach = Reach()
        self.load = Load()
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        """Done when the engine has said who it is, or is gone."""
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def send(self, exchange: Exchange) -> int:
        """Put the exchange's frame into this tick's write. Returns its id."""
        self._next_id = id_ = (self._next_id + 1) & 0xFFFFFFFF
        self.in_flight[id_] = exchange
        self.load.sent(len(exchange.body))
        now = exchange.sent = self._monotonic()
        flags = exchange.flags
        if (trace := exchange.trace) is not None:
            flags |= TRACED
            trace.sent = trace.sent or now
            trace.sends += 1
        left_ms = max(1, int(self.reach.left(exchange.deadline, now) * 1000))
        header = encode_header(
            exchange.kind,
            len(exchange.body),
            flags=flags,
            id=id_,
            a=left_ms,
            b=exchange.b,
            c=exchange.c,
        )
        self._write(header, exchange.body)
        return id_

    def cancel(self, id_: int) -> None:
        """Tell the engine that nobody waits for this answer any more."""
        exchange = self.in_flight.pop(id_, None)
        if exchange is not None:
            self.load.late(len(exchange.body), exchange.sent, self._monotonic())
            self._write(encode_header(Kind.CANCEL, 0, id=id_))

    def wake(self) -> None:
        """Have a cold worker load its version."""
        self.woken = True
        self._write(encode_header(Kind.WAKE, 0))

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
        now = self._monotonic()
        flags = frame.flags & ~NOTES
        if flags:
            self.load.refused(len(exchange.body))
        else:
            self.load.answered(len(exchange.body), exchange.sent, now)
        if flags == TURNED_AWAY:
            self.reach.turned_away(now, frame.b)
            self._pool.turned_away(self, exchange)
        else:
            if not flags:
                self.reach.answered(now - exchange.sent, frame.a + frame.b)
            if exchange.call is not None:
                exchange.call.served = self.served
            exchange.done(frame)

    def _control_frame(self, frame: Frame) -> None:
        if frame.kind == Kind.HELLO and self.hello is None:
            self.hello = hello = msgspec.json.decode(frame.body, type=Hello)
            self.served = Served(
                by="engine",
                model=hello.model,
                version=hello.version,
                digest=hello.digest,
                runtime=hello.runtime,
            )
            if hello.nonce:
                proof = auth_proof(self._token, hello.nonce)
                self._write(encode_header(Kind.AUTH, len(proof)), proof)
            self._pool.opened(self)
            self._is(self.greeted)
        elif frame.kind == Kind.TRACE:
            exchange = self.in_flight.get(frame.id)
            if exchange is not None and exchange.trace is not None:
                exchange.trace.engine = msgspec.json.decode(frame.body, type=EngineTrace)
        elif frame.kind == Kind.DRAIN:
            self.draining = True
            if frame.body:
                self._pool.counted(self, msgspec.json.decode(frame.body, type=EngineStats))
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

    def counted(self, connection: EngineConnection, stats: EngineStats) -> None:
        """The engine has told its counts."""

    def turned_away(self, connection: EngineConnection, exchange: Exchange) -> None:
        """The engine could not have kept the deadline."""

    def lost(self, connection: EngineConnection, unanswered: list[Exchange]) -> None:
        """The connection is closed."""
