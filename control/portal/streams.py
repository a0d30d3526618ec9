"""Streams of events that are open, how many may be, and how each ends. Knows no web framework."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NamedTuple

import msgspec

MAX_OPEN: Final = 64
"""Each holds a connection of the gateway to control."""
MAX_OF_SESSION: Final = 8
"""What a person watches at once, over all of their browsers: a page has one stream, and a browser
keeps three at most (``assets/live.js``), as it has six connections in all."""
MAX_OF_ADDRESS: Final = 32
"""An office behind one address shares them, and leaves as many to everybody else."""
LIFETIME_S: Final = 120.0
HEARTBEAT_S: Final = 15.0
RETRY_MS: Final = 2_000
POLL_MS: Final = 10_000
"""After which a browser asks again for what it cannot watch."""
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


SIGNED_OUT: Final = Event("signed-out", "The session has ended.")
"""The last event of a stream whose session has ended: nothing is to be asked for any more."""


class Watcher(NamedTuple):
    """Who watches."""

    session: str
    """Tells their login from others, or what stands in its place."""
    address: str


class Streams:
    """Counts what is open. Belongs to the event loop.

    At most :data:`MAX_OPEN` streams are open, of them :data:`MAX_OF_SESSION` for one session and
    :data:`MAX_OF_ADDRESS` for one address: whoever opens many leaves room for others.
    """

    def __init__(
        self, most: int = MAX_OPEN, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._monotonic = monotonic
        self._ending = asyncio.Event()
        self._sessions: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """Streams that are open."""
        return self._sessions.total()

    def end(self) -> None:
        """End every stream: the process stops."""
        self._ending.set()

    async def events(
        self,
        look: Look,
        watcher: Watcher,
        *,
        every_s: float,
        lifetime_s: float = LIFETIME_S,
        once: bool = False,
    ) -> AsyncIterator[bytes]:
        """Call ``look`` every so often and give what differs from the event of that name before.

        It ends by itself, and the browser connects again: nothing stays open for a page that is
        gone. For ``once``, and where too many are open, it gives what there is to see once, and
        tells the browser when to ask again: the page moves all the same, more slowly.
        """
        if once or not self._has_room(watcher):
            async for piece in self._once(look):
                yield piece
            return
        self._count(watcher, 1)
        try:
            async for piece in self._watched(look, every_s, lifetime_s):
                yield piece
        finally:
            self._count(watcher, -1)

    def _has_room(self, watcher: Watcher) -> bool:
        return (
            self.open < self._most
            and self._sessions[watcher.session] < MAX_OF_SESSION
            and self._addresses[watcher.address] < MAX_OF_ADDRESS
        )

    def _count(self, watcher: Watcher, by: int) -> None:
        for counted, key in (
            (self._sessions, watcher.session),
            (self._addresses, watcher.address),
        ):
            counted[key] += by
            if not counted[key]:
                del counted[key]  # nothing is kept of who is gone

    async def _once(self, look: Look) -> AsyncIterator[bytes]:
        yield f"retry: {POLL_MS}\n\n".encode()
        for event in await look() or []:
            yield event.encode()

    async def _watched(self, look: Look, every_s: float, lifetime_s: float) -> AsyncIterator[bytes]:
        sent: dict[str, bytes] = {}
        begun = spoken = self._monotonic()
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

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        except TimeoutError:
            return
