"""Ships the usage log to control, which takes each byte offset of each segment once."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import msgspec

from gateway.usage_log import SUFFIX, UsageLog
from protocol.usage import UsageReceipt
from runtime.logs import logger

BATCH_BYTES = 256 << 10
TOLD_AFTER = 10
"""Failures in a row after which the log says so."""
REFUSED_SUFFIX = ".refused"
REFUSALS = frozenset({400, 422})
"""Answers that no repetition changes: the segment is damaged."""


class UsageShipper:
    """Reads segments from where control left off, oldest first, and deletes what it has taken."""

    def __init__(
        self,
        log: UsageLog,
        folder: Path,
        client: httpx.AsyncClient,
        *,
        gateway: str,
        interval_s: float,
        release: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """``release`` is awaited before a segment is deleted: others may still need it."""
        self._log = log
        self._folder = folder
        self._client = client
        self._gateway = gateway
        self._interval_s = interval_s
        self._release = release
        self._offsets: dict[str, int] = {}

    async def run(self) -> None:
        """Ship until cancelled. While control is away the log stays, and grows."""
        failures = 0
        while True:
            try:
                await self.ship()
                failures = 0
            except (httpx.HTTPError, msgspec.DecodeError, OSError) as error:
                failures += 1
                if failures == TOLD_AFTER:  # at a start, control may be the last to be there
                    logger("usage").warning("usage cannot be shipped", error=repr(error))
            await asyncio.sleep(self._interval_s)

    async def ship(self) -> None:
        """Ship everything that is written now."""
        for path in sorted(self._folder.glob("*" + SUFFIX)):
            segment = path.name.removesuffix(SUFFIX)
            closed = segment != self._log.segment
            # Only as far as it is written now: under load there is always more, and chasing it
            # would ship line by line.
            end = path.stat().st_size
            while self._offsets.get(segment, 0) < end:
                batch = self._batch(path, segment)
                if batch == b"":
                    break
                if not await self._send(segment, batch):
                    # Kept for a person to look at; later records must not wait for it.
                    if not closed:
                        self._log.roll()
                    path.rename(path.with_suffix(REFUSED_SUFFIX))
                    break
            if closed:
                if self._release is not None:
                    await self._release(segment)
                # Taken whole; what may be left is a torn line, never acknowledged.
                path.unlink(missing_ok=True)
                self._offsets.pop(segment, None)

    def _batch(self, path: Path, segment: str) -> bytes:
        """Whole lines from the offset that control wants next."""
        with path.open("rb") as file:
            file.seek(self._offsets.get(segment, 0))
            data = file.read(BATCH_BYTES)
        return data[: data.rfind(b"\n") + 1]

    async def _send(self, segment: str, batch: bytes) -> bool:
        offset = self._offsets.get(segment, 0)
        response = await self._client.post(
            "/internal/v1/usage",
            params={"gateway": self._gateway, "segment": segment, "offset": offset},
            content=batch,
        )
        if response.status_code in REFUSALS:
            logger("usage").error(
                "control refused a usage segment",
                segment=segment,
                offset=offset,
                answer=response.text,
            )
            return False
        response.raise_for_status()
        receipt = msgspec.json.decode(response.content, type=UsageReceipt)
        self._offsets[segment] = receipt.next
        return True
