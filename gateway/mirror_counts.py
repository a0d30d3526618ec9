"""Tells control how many requests were mirrored to shadows, and how many were shed for what reason.

A summary keeps its number and its content until control has taken it: each is counted once. What
happens meanwhile goes into the next one, and counts for the time at which control takes that.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Final

import httpx
import msgspec

from gateway.connection import VersionKey
from protocol.shadowing import MirrorCount, MirrorCounts
from runtime.logs import logger

EVERY_S: Final = 5.0
PATH: Final = "/internal/v1/mirrored"
REFUSED: Final = frozenset({400, 422})
"""What control will not take another time either."""


class MirrorReports:
    """Of one gateway. ``counts`` gives what became of requests since it started, by shadow."""

    def __init__(
        self, client: httpx.AsyncClient, counts: Callable[[], Mapping[VersionKey, MirrorCount]]
    ) -> None:
        self._client = client
        self._counts = counts
        self._instance = secrets.token_hex(16)
        self._sequence = 0
        self._told: Mapping[VersionKey, MirrorCount] = {}
        """What the summaries so far add up to."""
        self._waiting: bytes | None = None
        """The summary that control may not have."""

    async def run(self) -> None:
        """Tell for as long as the gateway lives."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.tell()

    async def tell(self) -> None:
        """Bring over what there is. While control is away it waits, and grows no larger."""
        if self._waiting is None:
            self._waiting = self._summary()
        if self._waiting is None:
            return
        try:
            response = await self._client.post(PATH, content=self._waiting)
            if response.status_code in REFUSED:
                logger("gateway").error(
                    "control refuses counts of shadows", status=response.status_code
                )
            else:
                response.raise_for_status()
        except httpx.HTTPError:
            return  # the follower says that control is away
        self._waiting = None

    def _summary(self) -> bytes | None:
        """What is new, as JSON; None where nothing is."""
        present = self._counts()
        found = tuple(since(count, self._told.get(key)) for key, count in present.items())
        changed = tuple(one for one in found if one.compared or one.shed)
        self._told = present
        if not changed:
            return None
        self._sequence += 1
        return msgspec.json.encode(
            MirrorCounts(instance=self._instance, sequence=self._sequence, counts=changed)
        )


def since(count: MirrorCount, earlier: MirrorCount | None) -> MirrorCount:
    """What has been added to the earlier count. Reasons for which nothing was are left out."""
    if earlier is None:
        earlier = MirrorCount(model=count.model, version=count.version)
    shed = {reason: number - earlier.shed.get(reason, 0) for reason, number in count.shed.items()}
    return MirrorCount(
        model=count.model,
        version=count.version,
        compared=count.compared - earlier.compared,
        shed={reason: number for reason, number in shed.items() if number},
    )
