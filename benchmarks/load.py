"""The load generator: ``python -m benchmarks.load`` reads a LoadSpec and prints a LoadResult.

A process of its own, so that its work is neither counted nor in the way. Closed loop over N
keep-alive connections on uvloop, request bytes prepared beforehand, one protocol object per
connection. The parser knows exactly what it needs (status line, Content-Length) and stops at
anything else, rather than guess. It only ever talks to this machine.
"""

import asyncio
import ipaddress
import sys
import time
from collections import Counter
from typing import Any, cast

import msgspec
import uvloop

from benchmarks.answers import difference_from, latency_of
from benchmarks.spec import Exchange, LoadResult, LoadSpec

RETRY_S = 0.02
NANOSECONDS = 1_000_000_000


class Run:
    """The state that the connections share, and the counts they leave."""

    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        self.requests = [_request_bytes(spec, exchange) for exchange in spec.exchanges]
        self.latencies: list[int] = []
        self.statuses: Counter[int] = Counter()
        self.ids: list[str] = []
        self.sent = self.verified = self.wrong = self.broken = self.reconnects = 0
        self.in_flight = 0
        self.open = spec.connections
        """Connections that are open or about to be; the run ends when there are none."""
        self.transports: set[asyncio.Transport] = set()
        self.reopening: set[asyncio.Task[None]] = set()
        self.first_failure = ""
        self.finished = asyncio.Event()
        now = time.perf_counter_ns()
        self.measure_from = now + int(spec.warm_up_s * NANOSECONDS)
        self.stop_at = self.measure_from + int(spec.seconds * NANOSECONDS)
        self.last_good = self.measure_from
        self.longest_gap = 0

    def over(self, now: int) -> bool:
        """Whether no further request may be sent."""
        return now >= self.stop_at or self.sent >= self.spec.max_requests

    async def close(self) -> None:
        """Let go of every connection."""
        self.stop_at = 0
        for task in self.reopening:
            task.cancel()
        for transport in self.transports:
            transport.abort()
        while self.transports:  # noqa: ASYNC110 -- the event loop reports each in its next turns
            await asyncio.sleep(0)

    def left(self) -> None:
        """A connection is gone for good."""
        self.open -= 1
        if not self.open:
            self.finished.set()

    def reopen(self, index: int) -> None:
        """Open a lost connection again, in the background."""
        self.reconnects += 1
        task = asyncio.get_running_loop().create_task(_reopen(self, index))
        self.reopening.add(task)
        task.add_done_callback(self.reopening.discard)

    def failed(self, what: str) -> None:
        """Keep the first failure for the report."""
        self.first_failure = self.first_failure or what

    def good(self, sent_at: int, now: int) -> None:
        """Count an answer of status 200."""
        if now >= self.measure_from:
            self.longest_gap = max(self.longest_gap, now - self.last_good)
            self.last_good = now
            if sent_at >= self.measure_from:
                self.latencies.append(now - sent_at)

    def verify(self, exchange: Exchange, body: bytes, json_bytes: int | None) -> None:
        """Compare an answer with what scikit-learn says."""
        self.verified += 1
        difference = difference_from(exchange, body, json_bytes, self.spec.tolerance)
        if difference:
            self.wrong += 1
            self.failed(difference)

    def result(self) -> LoadResult:
        """The counts as they are now."""
        end = min(time.perf_counter_ns(), self.stop_at)
        seconds = max((end - self.measure_from) / NANOSECONDS, 1e-9)
        return LoadResult(
            answered=self.statuses[200],
            measured=len(self.latencies),
            seconds=seconds,
            requests_per_s=len(self.latencies) / seconds,
            latency=latency_of(self.latencies),
            statuses={str(status): count for status, count in sorted(self.statuses.items())},
            verified=self.verified,
            wrong=self.wrong,
            broken=self.broken,
            unanswered=self.in_flight,
            reconnects=self.reconnects,
            longest_gap_ms=max(self.longest_gap, end - self.last_good) / 1e6,
            first_failure=self.first_failure,
            ids=self.ids,
        )


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, run: Run, index: int) -> None:
        self._run = run
        self._index = index
        self._turn = index
        self._sent_at = 0
        self._in_flight = False
        self._asked_to_close = False
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0
        """Bytes of the whole answer; 0 while they are not known."""
        self._body_at = 0
        self._chunked = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self._run.transports.add(self._transport)
        self._send(time.perf_counter_ns())

    def data_received(self, data: bytes) -> None:
        """Collect until the answer is whole, then send the next request."""
        if self._have:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
        if not self._need:
            self._read_head(data)
            if self._chunked:
                data = self._join_chunks(data)
        if not self._need or len(data) < self._need:
            self._parts = [data]
            self._have = len(data)
            return
        self._answered(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count what was in flight; open again where the run asks for it."""
        run = self._run
        run.transports.discard(cast("asyncio.Transport", self._transport))
        if self._in_flight:
            run.broken += 1
            run.in_flight -= 1
            run.failed(f"connection lost while waiting: {exc!r}")
        again = run.spec.reconnect or self._asked_to_close
        if again and not run.over(time.perf_counter_ns()):
            run.reopen(self._index)
        else:
            run.left()

    def _read_head(self, data: bytes) -> None:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = data[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        self._chunked = b"\r\ntransfer-encoding: chunked" in head
        if not head.startswith(b"http/1.1 ") or (at < 0) is not self._chunked:
            raise ValueError(f"an answer that this load generator cannot read: {head[:200]!r}")
        self._body_at = end + 4
        if self._chunked:
            return
        at += len(b"\r\ncontent-length:")
        stop = head.find(b"\r\n", at)
        self._need = self._body_at + int(head[at : stop if stop >= 0 else end])

    def _join_chunks(self, data: bytes) -> bytes:
        """The answer without its chunks' sizes once the last is there; until then as it came."""
        at, parts = self._body_at, [data[: self._body_at]]
        while (line := data.find(b"\r\n", at)) >= 0:
            size, start = int(data[at:line], 16), line + 2
            at = start + size + 2
            if at > len(data):
                break
            if not size:
                joined = b"".join(parts)
                self._need = len(joined)
                return joined + data[at:]
            parts.append(data[start : start + size])
        return data

    def _answered(self, data: bytes) -> None:
        run, spec = self._run, self._run.spec
        now = time.perf_counter_ns()
        if len(data) > self._need:
            raise ValueError("bytes after the end of an answer")
        status = int(data[9:12])
        run.statuses[status] += 1
        if status == 200:
            run.good(self._sent_at, now)
            exchange = spec.exchanges[self._turn % len(spec.exchanges)]
            if exchange.expected and (self._turn - self._index) % spec.sample_every == 0:
                length = _header(data[: self._body_at], b"inference-header-content-length")
                run.verify(exchange, data[self._body_at :], int(length) if length else None)
            if spec.keep_ids:
                run.ids.append(_header(data[: self._body_at], b"tollway-prediction-id"))
        else:
            run.failed(f"status {status}: {data[self._body_at :][:200]!r}")
        self._asked_to_close = b"\r\nconnection: close" in data[: self._body_at].lower()
        self._turn += 1
        self._in_flight = False
        self._parts = []
        self._have = self._need = 0
        self._chunked = False
        run.in_flight -= 1
        if self._asked_to_close:
            assert self._transport is not None
            self._transport.close()
        else:
            self._send(now)

    def _send(self, now: int) -> None:
        run = self._run
        assert self._transport is not None
        if run.over(now):
            self._transport.close()
            return
        run.sent += 1
        run.in_flight += 1
        self._in_flight = True
        self._sent_at = now
        self._transport.write(run.requests[self._turn % len(run.requests)])


async def _open(run: Run, index: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: Connection(run, index), run.spec.host, run.spec.port)


async def _reopen(run: Run, index: int) -> None:
    """Try until the server is back or the run is over. No request is in flight meanwhile."""
    while not run.over(time.perf_counter_ns()):
        try:
            await _open(run, index)
        except OSError:
            await asyncio.sleep(RETRY_S)
        else:
            return
    run.left()


async def drive(spec: LoadSpec) -> LoadResult:
    """Run ``spec`` to its end. Raises what a connection raised, OSError when it cannot start."""
    if not ipaddress.ip_address(spec.host).is_loopback:
        raise ValueError(f"{spec.host} is not a loopback address")
    loop = asyncio.get_running_loop()
    trouble: asyncio.Future[None] = loop.create_future()

    def broke(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not trouble.done():
            trouble.set_exception(context.get("exception") or RuntimeError(context["message"]))

    loop.set_exception_handler(broke)
    run = Run(spec)
    finished = loop.create_task(run.finished.wait())
    ends: set[asyncio.Future[Any]] = {finished, trouble}
    try:
        for index in range(spec.connections):
            await _open(run, index)
        limit = spec.warm_up_s + spec.seconds + spec.drain_s
        await asyncio.wait(ends, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if trouble.done():
            trouble.result()
        return run.result()
    finally:
        finished.cancel()
        await run.close()


def _request_bytes(spec: LoadSpec, exchange: Exchange) -> bytes:
    headers = {
        "Host": f"{spec.host}:{spec.port}",
        "X-API-Key": spec.api_key,
        "Content-Type": "application/json",
        "Content-Length": str(len(exchange.body)),
        **exchange.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {spec.path} HTTP/1.1\r\n{lines}\r\n".encode() + exchange.body


def _header(head: bytes, name: bytes) -> str:
    at = head.lower().find(b"\r\n" + name + b":")
    if at < 0:
        return ""
    at += len(name) + 3
    return head[at : head.find(b"\r\n", at)].strip().decode("latin-1")


def main() -> None:
    """Read a spec from stdin, run it, print the result."""
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=LoadSpec)
    result = uvloop.run(drive(spec))
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")


if __name__ == "__main__":
    main()
