"""Listens in the place of engines that there are not, until somebody calls their version."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from protocol.errors import Code, TollwayError
from protocol.frames import EngineStats, Frame, Hello
from serving.call import Call
from serving.connection import Connection
from serving.listening import listen

MAX_FRAME_BYTES: Final = 1 << 20
"""Nobody sends a request to who says that it is cold, save one that was on its way."""


class Standby:
    """Says that it is cold to whoever connects, and calls ``woken`` at a WAKE.

    It speaks the engines' protocol, so that peers prove themselves to it as they do to engines.
    """

    def __init__(
        self, hello: Hello, cluster_token: bytes | None, woken: Callable[[], None]
    ) -> None:
        """``cluster_token``: set when peers must prove themselves, over TCP."""
        self.hello = msgspec.structs.replace(hello, cold=True)
        self.cluster_token = cluster_token
        self.max_frame_bytes = MAX_FRAME_BYTES
        self.connections: set[Connection] = set()
        self._woken = woken
        self._server: asyncio.Server | None = None

    async def open(self, address: str) -> None:
        """Listen. Raises ``OSError`` where something else does."""
        self._server = await listen(self, address)

    def leave(self) -> None:
        """Give the address to an engine. Who is connected stays, until :meth:`close`."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Leave, and send everybody to the engine that listens by now."""
        self.leave()
        for connection in list(self.connections):
            connection.close()

    # serving.connection.Service

    def infer(self, connection: Connection, frame: Frame) -> None:
        """Refuse a request that was sent all the same; it is a call nevertheless."""
        connection.refuse(frame.id, TollwayError(Code.NOT_READY, "the model is being loaded"))
        self.wake()

    def cancel(self, call: Call) -> None:
        """Nobody waits: here nobody ever does."""

    def stats(self) -> bytes:
        """Nothing is counted here."""
        return msgspec.json.encode(EngineStats(batching_reason="no engine is loaded"))

    def shadow(self, connection: Connection, frame: Frame) -> None:
        """Drop what was sent all the same: shadows wake nobody."""
        connection.shadowed(frame.id, 0, 0)

    def disagreements(self, acknowledged: int) -> bytes:  # noqa: ARG002 -- the service's signature
        """Nothing is compared here."""
        return b""

    def wake(self) -> None:
        """Have the version loaded."""
        self._woken()
