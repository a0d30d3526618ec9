"""What the counters in memory have counted, on disk: a killed gateway forgets no quota.

The usage log holds every acknowledged request. A copy of the counters says up to which byte of
which segment it has counted; what was written after that is counted again at the next start. A
segment is deleted only once a copy has counted all of it.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio.to_thread
import msgspec

from gateway.shipper import REFUSED_SUFFIX
from gateway.usage_log import SUFFIX, UsageLog
from policies.limits import Limits
from policies.plan_limits import used_of
from policies.stores.base import Subscription
from policies.stores.memory import MemoryCounters, SubscriptionTotal
from protocol.usage import UsageRecord
from runtime.files import write_atomically
from runtime.logs import logger

INTERVAL_S = 10.0
"""How often a copy is written while there is traffic: bounds what a start has to count again."""
NEVER_ADMITTED = frozenset({401, 403, 404, 405, 410, 429})
"""Answers to calls that no limit was charged for. Of others it is not known for certain; they count
in rate windows, which are then rather too full than too empty."""


class CounterCopy(msgspec.Struct, frozen=True, kw_only=True):
    """The file's content."""

    counted: dict[str, int] = {}
    """Segment -> bytes of it that the totals hold."""
    totals: list[SubscriptionTotal] = []


class CounterKeeper:
    """Writes copies of the counters, and begins from the last."""

    def __init__(
        self,
        counters: MemoryCounters,
        usage: UsageLog,
        path: Path,
        segments: Path,
        limits_of: Callable[[Subscription], Limits | None],
    ) -> None:
        """``limits_of``: the present limits of a subscription."""
        self._counters = counters
        self._usage = usage
        self._path = path
        self._segments = segments
        self._limits_of = limits_of
        self._counted: dict[str, int] = {}
        self._saving = asyncio.Lock()

    def restore(self) -> None:
        """Begin from the copy and the usage written after it. Call it once the configuration is
        known and before anything is admitted."""
        copy = self._read()
        for total in copy.totals:
            self._counters.restore(total)
        records = 0
        for segment, file in sorted(self._files().items()):
            records += self._replay(file, copy.counted.get(segment, 0))
        if records:
            logger("counters").info("usage since the last copy was counted again", records=records)

    async def run(self) -> None:
        """Write copies until cancelled, while there is something new to keep."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            if self._sizes() != self._counted:
                try:
                    await self.save()
                except OSError as error:
                    # The last copy and the log stay: nothing is lost, a start takes longer.
                    logger("counters").error("the counters cannot be kept", error=str(error))

    async def release(self, segment: str) -> None:
        """Return once a copy holds all of a closed segment, which may then be deleted. Raises
        ``OSError`` when it cannot be written."""
        file = self._files().get(segment)
        if file is not None and self._counted.get(segment, 0) < file.stat().st_size:
            await self.save()

    async def save(self) -> None:
        """Write a copy. The counters are read in one piece with the log's position; encoding and
        writing have a thread."""
        async with self._saving:
            self._usage.flush()
            sizes = self._sizes()
            totals = self._counters.snapshot()
            await anyio.to_thread.run_sync(partial(self._write, sizes, totals))

    def _write(self, sizes: dict[str, int], totals: list[SubscriptionTotal]) -> None:
        copy = CounterCopy(counted=sizes, totals=totals)
        write_atomically(self._path, msgspec.json.encode(copy), 0o600)
        self._counted = sizes

    def _read(self) -> CounterCopy:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=CounterCopy)
        except FileNotFoundError:
            return CounterCopy()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # Written atomically, so this is a disk's or a person's doing. The log still counts.
            logger("counters").error("the copy of the counters is damaged", error=str(error))
            return CounterCopy()

    def _files(self) -> dict[str, Path]:
        found = [*self._segments.glob("*" + SUFFIX), *self._segments.glob("*" + REFUSED_SUFFIX)]
        return {path.name.rsplit(".", 1)[0]: path for path in found}

    def _sizes(self) -> dict[str, int]:
        sizes = {}
        for segment, file in self._files().items():
            try:
                sizes[segment] = file.stat().st_size
            except FileNotFoundError:
                continue  # shipped meanwhile
        return sizes

    def _replay(self, file: Path, offset: int) -> int:
        """Count a segment's records from ``offset``. Returns how many there were."""
        decode = msgspec.json.Decoder(UsageRecord).decode
        records = 0
        known: dict[Subscription, Limits | None] = {}
        with file.open("rb") as lines:
            lines.seek(offset)
            for line in lines:
                try:
                    record = decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue  # a torn line was never acknowledged; a damaged one is the shipper's
                subscription = (record.application, record.model)
                if subscription not in known:
                    known[subscription] = self._limits_of(subscription)
                limits = known[subscription]
                if limits is None or not limits.counted or record.status in NEVER_ADMITTED:
                    continue
                records += 1
                used = used_of(record.status, record.rows, record.infer_us)
                self._counters.replay(subscription, limits, record.at_ms, used)
        return records
