"""Connections to control, kept for the next requests."""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Final

import httpx

from runtime.control_connection import ControlConnection

CONNECT_TIMEOUT_S: Final = 10.0
MAX_CONNECTIONS: Final = 200
"""Requests that may be with control at once; of live pages, which hold one each, it takes 64."""
MAX_IDLE: Final = 20
IDLE_S: Final = 30.0
"""How long a connection may have been idle and be used again: less than control keeps it."""


class ControlConnections:
    """Connections to control, lent to one request each."""

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """``url``: ``unix:/path`` or ``http(s)://host[:port]``; ``monotonic`` gives seconds."""
        self._path = url.removeprefix("unix:") if url.startswith("unix:") else None
        self._url = httpx.URL("http://control" if self._path else url)
        self._tls: ssl.SSLContext | None = None
        self._monotonic = monotonic
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)
        self._idle: list[ControlConnection] = []

    async def take(
        self, *, fresh: bool = False, timeout_s: float | None = CONNECT_TIMEOUT_S
    ) -> ControlConnection:
        """A connection, to be given back. Raises ``OSError`` or ``TimeoutError`` when there is
        none. ``fresh``: one that nobody has used before."""
        async with asyncio.timeout(timeout_s):
            await self._free.acquire()
            try:
                return (None if fresh else self._kept()) or await self._connect()
            except BaseException:
                self._free.release()
                raise

    def give(self, connection: ControlConnection) -> None:
        """Take a connection back; one whose answer was not read to its end is closed."""
        self._free.release()
        if connection.is_spare and len(self._idle) < MAX_IDLE:
            connection.used = True
            connection.idle_since = self._monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> ControlConnection | None:
        oldest = self._monotonic() - IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since > oldest:
                return connection
            connection.close()
        return None

    async def _connect(self) -> ControlConnection:
        loop = asyncio.get_running_loop()
        if self._path is not None:
            _, connection = await loop.create_unix_connection(ControlConnection, self._path)
            return connection
        if self._url.scheme == "https" and self._tls is None:
            self._tls = httpx.create_ssl_context()
        _, connection = await loop.create_connection(
            ControlConnection,
            self._url.host,
            self._url.port or (443 if self._tls else 80),
            ssl=self._tls,
        )
        return connection
