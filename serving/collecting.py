"""Brings what shadows' engines have compared to control, each summary once.

An engine keeps a summary until it hears that it was taken, and control knows by its number which it
has: whatever is lost in between is asked for, or sent, again.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import httpx
import msgspec

from protocol.frames import Kind, ProtocolError
from protocol.shadowing import Disagreements
from runtime.logs import logger
from serving.asking import ask
from serving.fleet import Fleet

EVERY_S: Final = 2.0
ASK_S: Final = 2.0
SEND_S: Final = 10.0
MAX_ENGINES: Final = 4096
"""Instances that are remembered."""
PATH: Final = "/internal/v1/disagreements"
REFUSED: Final = frozenset({400, 404, 413, 422})
"""What control will not take another time either."""

Key = tuple[str, int]


class Collector:
    """Of one worker. ``fleets`` gives its fleets, ``shadows`` the versions that are shadows now."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        token: bytes,
        fleets: Callable[[], Iterable[Fleet]],
        shadows: Callable[[], set[Key]],
    ) -> None:
        self._client = client
        self._token = token
        self._fleets = fleets
        self._shadows = shadows
        self._taken: dict[str, int] = {}
        """Instance of an engine -> sequence of the last summary that control has."""
        self._left: set[Key] = set()
        """Versions that may have something to tell though they are no shadows any more."""
        self._told = False

    async def run(self) -> None:
        """Collect for as long as the worker lives."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.collect()

    async def collect(self, fleets: Iterable[Fleet] | None = None) -> None:
        """Bring over what there is; of ``fleets`` alone, where they are given."""
        shadows = self._shadows()
        wanted = shadows | self._left
        if fleets is None:
            self._left = set(shadows)
        for fleet in list(self._fleets() if fleets is None else fleets):
            key = (fleet.version.model, fleet.version.number)
            if key in wanted and not await self._collect_of(fleet):
                self._left.add(key)

    async def _collect_of(self, fleet: Fleet) -> bool:
        ready = [slot.address for slot in fleet.slots.values() if slot.doc.state == "ready"]
        return all([await self._collect(address) for address in ready])

    async def _collect(self, address: str) -> bool:
        """Bring over one engine's summary. False when there may be more."""
        try:
            async with asyncio.timeout(ASK_S):
                hello, body = await ask(
                    address,
                    self._token,
                    Kind.DISAGREEMENTS,
                    lambda hello: self._taken.get(hello.instance, 0),
                )
        except (OSError, TimeoutError, ProtocolError, msgspec.DecodeError):
            return True  # an engine that ends; its successor tells of itself
        if not body:
            return True
        found = msgspec.msgpack.decode(body, type=Disagreements)
        if await self._send(body):
            if hello.instance not in self._taken and len(self._taken) >= MAX_ENGINES:
                self._taken.clear()  # what is sent twice is counted once
            self._taken[hello.instance] = found.sequence
        return False

    async def _send(self, body: bytes) -> bool:
        """Whether control has it, or never will."""
        try:
            response = await self._client.post(PATH, content=body, timeout=SEND_S)
            if response.status_code not in REFUSED:
                response.raise_for_status()
        except httpx.HTTPError as error:
            if not self._told:
                logger("collector").warning("control takes no summaries", error=repr(error))
            self._told = True
            return False
        if response.status_code in REFUSED:
            logger("collector").error("control refuses a summary", status=response.status_code)
        self._told = False
        return True
