"""Streams of events that are open, how many may be, and how each ends. Knows no web framework."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import msgspec

from protocol.errors import Code, TollwayError

MAX_OPEN: Final = 64
"""Each holds a connection of the gateway to control."""
LIFETIME_S: Final = 120.0
HEARTBEAT_S: Final = 15.0
RETRY_MS: Final = 2_000
_BEAT: Final = b": still here\n\n"


class Event(msgspec.Struct, frozen=True):
    """One event: HTML for htmx's ``sse-swap="NAME"``; for charts JSON (``data``, ``point``)."""

    name: str
    data: object
    """A text goes as it is, anything else as JSON."""

    def encode(self) -> bytes:
        """As it goes over the wire: every line of the data has its own field."""
        text = self.data if isinstance(self.data, str) else json.dumps(self.data, allow_nan=False)
        lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
        return f"event: {self.name}\n{lines}\n".encode()


Look = Callable[[], Awaitable[list[Event] | None]]
"""What there is to see now; None ends the stream."""


class Streams:
    """Counts what is open. Belongs to the event loop."""

    def __init__(
        self, most: int = MAX_OPEN, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._monotonic = monotonic
        self._ending = asyncio.Event()
        self.open = 0

    def end(self) -> None:
        """End every stream: the process stops."""
        self._ending.set()

    def check(self) -> None:
        """Raise ``UNAVAILABLE`` when no more may be opened."""
        if self.open >= self._most:
            raise TollwayError(
                Code.UNAVAILABLE, "too many pages are watching live figures now; try again soon"
            )

    async def events(
        self, look: Look, *, every_s: float, lifetime_s: float = LIFETIME_S
    ) -> AsyncIterator[bytes]:
        """Call ``look`` every so often and give what differs from the event of that name before.

        It ends by itself, and the browser connects again: nothing stays open for a page that is
        gone.
        """
        self.open += 1
        sent: dict[str, bytes] = {}
        begun = spoken = self._monotonic()
        try:
            yield f"retry: {RETRY_MS}\n\n".encode()
            while not self._ending.is_set() and self._monotonic() - begun < lifetime_s:
                found = await look()
                if found is None:
                    return
                for event in found:
                    encoded = event.encode()
                    if sent.get(event.name) != encoded:
                        sent[event.name] = encoded
                        spoken = self._monotonic()
                        yield encoded
                if self._monotonic() - spoken >= HEARTBEAT_S:
                    spoken = self._monotonic()
                    yield _BEAT
                await self._pause(every_s)
        finally:
            self.open -= 1

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        except TimeoutError:
            return
