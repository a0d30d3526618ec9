"""The engine's ear for its agent: the order to start, and what changes while it serves.

Both are JSON lines on the standard input. Whoever starts an engine may close it after the order:
then nothing changes.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Final

import msgspec

from serving.launch import EngineChange, EngineOrder

READ_BYTES: Final = 1 << 16
STANDARD_INPUT: Final = 0


class Orders:
    """Lines of a descriptor. The first is waited for; the others are taken as they come."""

    def __init__(self, descriptor: int = STANDARD_INPUT) -> None:
        self._descriptor = descriptor
        self._held = b""

    def first(self) -> EngineOrder:
        """The order. Blocks until it is there whole."""
        parts = []
        while part := os.read(self._descriptor, READ_BYTES):
            parts.append(part)
            if b"\n" in part:
                break
        line, _, self._held = b"".join(parts).partition(b"\n")
        return msgspec.json.decode(line, type=EngineOrder)

    def follow(self, take: Callable[[EngineChange], None]) -> None:
        """Hand every change to ``take`` from now on, in the thread of the running loop."""
        loop = asyncio.get_running_loop()
        os.set_blocking(self._descriptor, False)

        def readable() -> None:
            try:
                data = os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                loop.remove_reader(self._descriptor)
                return
            self._hear(data, take)

        self._hear(b"", take)  # what came with the order
        loop.add_reader(self._descriptor, readable)

    def _hear(self, data: bytes, take: Callable[[EngineChange], None]) -> None:
        *lines, self._held = (self._held + data).split(b"\n")
        for line in lines:
            take(msgspec.json.decode(line, type=EngineChange))
