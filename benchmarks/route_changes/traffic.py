"""Constant load on a model, each answer checked against the version that its header names."""

import asyncio
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

from benchmarks.route_changes.model import NAME, REQUEST, answered

JOIN_S = 30.0
ANSWER_S = 30.0
_END = b"\r\n\r\n"


class Traffic:
    """``connections`` keep-alive connections, each with one request in flight, in a thread of their
    own. Only ever talks to this machine."""

    def __init__(self, port: int, keys: list[str], connections: int) -> None:
        """``keys``: the connections call for these applications in turn."""
        self._port = port
        self._requests = [_request(port, key) for key in keys]
        self._connections = connections
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self.answers: Counter[tuple[int, str]] = Counter()
        """Version and variant -> answers that were right."""
        self.failed = 0
        """Answers of another status than 200, and connections that were lost."""
        self.misversioned = 0
        self.first_failure = ""
        self.seen: dict[int, float] = {}
        """Version -> monotonic seconds at which the newest request that it answered was sent."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(JOIN_S)

    @property
    def requests(self) -> int:
        """Requests that were answered, rightly or not."""
        return sum(self.answers.values()) + self.failed + self.misversioned

    def answers_with(self, version: int, since: float, within_s: float) -> float | None:
        """Seconds from ``since`` until a request was sent that the version answered; None when that
        was not ``within_s``."""
        while (left := since + within_s - time.monotonic()) > 0:
            sent = self.seen.get(version, 0.0)
            if sent >= since:
                return sent - since
            time.sleep(min(left, 0.002))
        return None

    def _run(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        requests = self._requests
        await asyncio.gather(
            *(self._connection(requests[n % len(requests)]) for n in range(self._connections))
        )

    async def _connection(self, request: bytes) -> None:
        while not self._stop.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    while not self._stop.is_set():
                        async with asyncio.timeout(ANSWER_S):
                            await self._exchange(reader, writer, request)
                finally:
                    writer.close()
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                self._fail(repr(error))
                await asyncio.sleep(0.05)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> None:
        sent = time.monotonic()
        writer.write(request)
        head = await reader.readuntil(_END)
        first, *lines = head[: -len(_END)].decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        body = await reader.readexactly(int(headers["content-length"]))
        if first.split()[1] != "200":
            self._fail(f"{first}: {body[:300]!r}")
            return
        version = int(headers["tollway-version"])
        number = answered(body)
        if number != version:
            self.misversioned += 1
            self.first_failure = self.first_failure or f"version {version} answered {number:g}"
            return
        self.answers[version, headers["tollway-variant"]] += 1
        self.seen[version] = max(sent, self.seen.get(version, 0.0))

    def _fail(self, what: str) -> None:
        self.failed += 1
        self.first_failure = self.first_failure or what


def _request(port: int, key: str) -> bytes:
    head = (
        f"POST /v2/models/{NAME}/infer HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-API-Key: {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(REQUEST)}\r\n\r\n"
    )
    return head.encode() + REQUEST
