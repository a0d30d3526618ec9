"""An open loop: requests leave when they are due, whether or not others have been answered.

A closed loop waits for a server that is too slow, and so never overloads it. How far this one falls
behind its own schedule is told: on a machine that is busy with other things, that is what it finds.
Only ever talks to this machine.
"""

import asyncio
import contextlib
import ipaddress
import random
import time
from collections import deque
from typing import Final, cast

import msgspec

from benchmarks.spec import Exchange
from benchmarks.systems import Served

_OK: Final = 200
_P99: Final = 0.99


class OpenSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Poisson arrivals of ``exchanges`` in turn at ``rate`` a second, for ``seconds``."""

    rate: float
    seconds: float
    deadline_ms: int
    connections: int = 512
    """Opened beforehand; a request takes one that is free."""
    drain_s: float = 5.0
    seed: int = 1


class Reply(msgspec.Struct, frozen=True):
    """One answer: its status, and seconds since its request was sent."""

    status: int
    took_s: float
    sent_s: float = 0.0
    """When it was sent, on the clock of ``time.perf_counter``."""


class OpenResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was answered, and what was not."""

    sent: int
    replies: list[Reply]
    unsent: int
    """Requests for which no connection was free: not the server's doing, so they should be none."""
    retry_after: int
    """Answers of status 503 that say when to come back."""
    late_s: float
    """How far the generator itself fell behind at most."""


class Paced(msgspec.Struct, kw_only=True):
    """Rounds of an open loop, one figure for each."""

    p50_ms: list[float] = []
    p99_ms: list[float] = []
    failed: int = 0

    def add(self, found: OpenResult) -> None:
        """Count a round. What got no answer, or another than 200, has failed."""
        took = sorted(reply.took_s * 1000 for reply in found.replies)
        self.p50_ms.append(took[len(took) // 2])
        self.p99_ms.append(took[int(_P99 * len(took))])
        self.failed += found.sent - sum(reply.status == _OK for reply in found.replies)


class _Connection(asyncio.Protocol):
    """A keep-alive connection with at most one request in flight."""

    def __init__(self, idle: "deque[_Connection]", counts: "_Counts") -> None:
        self._idle = idle
        self._counts = counts
        self._data = b""
        self._sent = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes) -> None:
        """Send a request."""
        assert self.transport is not None
        self._sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._data[:end].lower()
        length = int(head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
        if len(self._data) < end + 4 + length:
            return
        status = int(head[9:12])
        self._counts.add(Reply(status, time.perf_counter() - self._sent, self._sent))
        self._counts.retry_after += b"\r\nretry-after:" in head
        self._data = b""
        self._idle.append(self)


class _Counts:
    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.retry_after = 0
        self.expected: int | None = None
        """How many there will be, once that is known."""
        self.complete = asyncio.Event()

    def add(self, reply: Reply) -> None:
        """Count an answer."""
        self.replies.append(reply)
        if len(self.replies) == self.expected:
            self.complete.set()


async def drive(
    served: Served,
    exchanges: list[Exchange],
    spec: OpenSpec,
    enough: asyncio.Event | None = None,
) -> OpenResult:
    """Send what is due until the time is over, or ``enough`` is set, then wait for answers. Raises
    ``OSError``."""
    host = "127.0.0.1"
    assert ipaddress.ip_address(host).is_loopback
    loop = asyncio.get_running_loop()
    idle: deque[_Connection] = deque()
    counts = _Counts()
    opened = [
        (await loop.create_connection(lambda: _Connection(idle, counts), host, served.port))[1]
        for _ in range(spec.connections)
    ]
    idle.extend(opened)
    requests = [_request(served, one, spec.deadline_ms) for one in exchanges]
    chance = random.Random(spec.seed)
    sent = unsent = 0
    late_s = 0.0
    begun = time.perf_counter()
    due = begun
    try:
        while (due := due + chance.expovariate(spec.rate)) < begun + spec.seconds:
            if enough is not None and enough.is_set():
                break
            if (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            late_s = max(late_s, time.perf_counter() - due)
            if idle:
                idle.popleft().send(requests[sent % len(requests)])
                sent += 1
            else:
                unsent += 1
                await asyncio.sleep(0)
        counts.expected = sent
        if len(counts.replies) == sent:
            counts.complete.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(counts.complete.wait(), spec.drain_s)
    finally:
        for connection in opened:
            if connection.transport is not None:
                connection.transport.abort()
    return OpenResult(
        sent=sent,
        replies=counts.replies,
        unsent=unsent,
        retry_after=counts.retry_after,
        late_s=late_s,
    )


def _request(served: Served, exchange: Exchange, deadline_ms: int) -> bytes:
    head = (
        f"POST {served.path} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
        f"X-API-Key: {served.api_key}\r\nContent-Type: application/json\r\n"
        f"Tollway-Deadline-Ms: {deadline_ms}\r\nContent-Length: {len(exchange.body)}\r\n\r\n"
    )
    return head.encode() + exchange.body
