"""Captures the payload of a share of the predictions, where a model's publisher has allowed it.

On the way of a request that is a look at its model and, for those that are chosen, a reference kept
to what is in memory anyhow. Everything else happens once a second in a thread: what holds a
credential is left out, the rest goes to a spool on disk and from there to control. Best effort:
memory and spool are bounded, what finds no room is shed and counted, and a gateway that is killed
loses the last second. Which are chosen is decided by a hash of the prediction id, so that every
request has the same chance, whoever sends it.
"""

import asyncio
import secrets
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal
from zlib import crc32

import httpx
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.catalog import ModelEntry
from gateway.settings import GatewaySettings
from policies.base import Call
from protocol.captures import MAX_BATCH_BYTES, Captured, encode_batch
from protocol.errors import TollwayError
from protocol.frames import SHARED, Frame, Operation
from protocol.keys import holds_credential, holds_token
from protocol.usage import UsageRecord
from runtime.logs import logger

SUFFIX: Final = ".captures"
INTERVAL_S: Final = 1.0
PERMILLE: Final = 1000
OVERHEAD_BYTES: Final = 1024
"""What a capture takes beside its bodies, at least."""
TOLD_AFTER: Final = 10
"""Failures in a row after which the log says so."""
MISSES: Final = 3
"""Files in a row that fail before the others wait for the next second."""
MAX_FAILURES: Final = 20
"""Seconds in which a file fails while others are taken, after which it is dropped."""
_OK: Final = 200
REFUSALS: Final = frozenset({400, 413, 422})
"""Answers that no repetition changes."""

Outcome = Literal["kept", "too_large", "no_memory", "credential", "no_spool", "refused"]
OUTCOMES: Final[tuple[Outcome, ...]] = (
    "kept", "too_large", "no_memory", "credential", "no_spool", "refused",
)  # fmt: skip


def is_chosen(prediction_id: bytes, permille: int) -> bool:
    """Whether a prediction is among the share of a model that is captured."""
    return crc32(prediction_id) % PERMILLE < permille


def may_keep(call: Call, permille: int, uncaptured: Container[str]) -> bool:
    """Whether the payload of a call may be kept: it is chosen, and its application allows it."""
    if not is_chosen(call.prediction_id, permille):
        return False
    return call.identity is None or call.identity.application not in uncaptured


class Capture(Collector):
    """Of one gateway. :meth:`answered` belongs to the thread of its event loop."""

    def __init__(
        self,
        settings: GatewaySettings,
        models: Mapping[str, ModelEntry],
        uncaptured: Container[str],
        folder: Path,
        *,
        now: Callable[[], float],
    ) -> None:
        """``uncaptured``: applications of which nothing is kept. ``folder`` is the spool; ``now``
        gives UNIX seconds."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._models = models
        self._uncaptured = uncaptured
        self._folder = folder
        self._now = now
        self._max_bytes = settings.capture_max_bytes
        self._memory_bytes = settings.capture_memory_bytes
        self._spool_bytes = settings.capture_spool_bytes
        self._waiting: list[Captured] = []
        self._size = 0
        self._failures: dict[Path, int] = {}
        """How often a file was not taken while others were."""
        self._later: set[Path] = set()
        """Files that have failed: the others are tried before them."""
        self.counts: dict[Outcome, int] = dict.fromkeys(OUTCOMES, 0)

    def answered(
        self, call: Call, record: UsageRecord, reply: Frame | TollwayError, body: bytes
    ) -> None:
        """A call has got its answer."""
        entry = self._models.get(call.model)
        if entry is None or not entry.capture_permille:
            return
        if not isinstance(reply, Frame) or reply.status != _OK:
            return
        if call.operation == Operation.V1_EXPLAIN:
            return
        if not may_keep(call, entry.capture_permille, self._uncaptured):
            return
        size = len(body) + len(reply.body)
        if size > self._max_bytes:
            self.counts["too_large"] += 1
            return
        size += OVERHEAD_BYTES
        if self._size + size > self._memory_bytes:
            self.counts["no_memory"] += 1
            return
        self._size += size
        self._waiting.append(_captured(call, record, reply, body))

    async def run(self, client: httpx.AsyncClient) -> None:
        """Spool and ship until cancelled; at the end spool what is left."""
        failures = 0
        try:
            while True:
                await asyncio.sleep(INTERVAL_S)
                try:
                    await self.spool()
                    await self.ship(client)
                    failures = 0
                except (httpx.HTTPError, OSError) as error:
                    failures += 1
                    if failures == TOLD_AFTER:
                        # The type alone: what was sent has no place in a log.
                        kind = type(error).__name__
                        logger("capture").warning("captures cannot be shipped", error=kind)
        finally:
            self._spool(self._taken())

    async def spool(self) -> None:
        """Write what waits to the spool."""
        if waiting := self._taken():
            await asyncio.to_thread(self._spool, waiting)

    async def ship(self, client: httpx.AsyncClient) -> None:
        """Send what is spooled, the oldest first.

        A file that fails is left for later, so that it stops no other; one that goes on failing
        while others are taken is dropped. Raises ``httpx.HTTPError`` or ``OSError`` when nothing
        is taken: then it is control that fails, and no file's fault.
        """
        files = sorted(self._folder.glob("*" + SUFFIX))
        self._failures = {path: self._failures.get(path, 0) for path in files}
        if self._later.issuperset(files):
            self._later.clear()
        files.sort(key=lambda path: path in self._later)
        failed: dict[Path, httpx.HTTPStatusError | OSError] = {}
        in_a_row, taken = 0, False
        for path in files:
            if in_a_row == MISSES:
                break
            try:
                await self._send(client, path)
            except (httpx.HTTPStatusError, OSError) as error:
                failed[path] = error
                self._later.add(path)
                in_a_row += 1
            else:
                in_a_row, taken = 0, True
        if failed and not taken:
            raise next(iter(failed.values()))
        for path, problem in failed.items():
            self._fails(path, problem)

    async def _send(self, client: httpx.AsyncClient, path: Path) -> None:
        data = await asyncio.to_thread(path.read_bytes)
        response = await client.post("/internal/v1/captures", content=data)
        if response.status_code in REFUSALS:
            self.counts["refused"] += 1
            logger("capture").error("control refuses captures", status=response.status_code)
        else:
            response.raise_for_status()
        await asyncio.to_thread(path.unlink, missing_ok=True)

    def _fails(self, path: Path, error: httpx.HTTPStatusError | OSError) -> None:
        """A file was not taken while others were."""
        self._failures[path] += 1
        if self._failures[path] == MAX_FAILURES:
            self.counts["refused"] += 1
            status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else 0
            kind = type(error).__name__
            logger("capture").error("captures are dropped", error=kind, status=status)
            path.unlink(missing_ok=True)

    def _taken(self) -> list[Captured]:
        waiting, self._waiting, self._size = self._waiting, [], 0
        return waiting

    def _spool(self, captures: list[Captured]) -> None:
        used = sum(path.stat().st_size for path in self._folder.glob("*" + SUFFIX))
        batch: list[Captured] = []
        size = 0
        for one in captures:
            if _holds_secret(one.request) or _holds_secret(one.answer):
                self.counts["credential"] += 1
                continue
            more = len(one.request) + len(one.answer)
            if batch and size + more > MAX_BATCH_BYTES:
                used += self._write(batch, used)
                batch, size = [], 0
            batch.append(one)
            size += more
        if batch:
            self._write(batch, used)

    def _write(self, batch: list[Captured], used: int) -> int:
        """Write one file of the spool, unless it has no room. Returns its size."""
        data = encode_batch(batch)
        if used + len(data) > self._spool_bytes:
            self.counts["no_spool"] += len(batch)
            return 0
        name = f"{int(self._now() * 1000):014d}-{secrets.token_hex(4)}"
        path = self._folder / (name + SUFFIX)
        part = path.with_suffix(".part")
        try:
            part.touch(0o600)
            part.write_bytes(data)
            part.rename(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            self.counts["no_spool"] += len(batch)
            logger("capture").error("the spool takes nothing", error=repr(error))
            return 0
        self.counts["kept"] += len(batch)
        return len(data)

    def collect(self) -> Iterator[Metric]:
        """The values of now."""
        found = CounterMetricFamily(
            "tollway_captures",
            "Predictions whose payload was to be captured, by what became of it.",
            labels=["outcome"],
        )
        for outcome, count in self.counts.items():
            found.add_metric([outcome], count)
        yield found


def _holds_secret(body: bytes) -> bool:
    return holds_credential(body) or holds_token(body)


def _captured(call: Call, record: UsageRecord, reply: Frame, body: bytes) -> Captured:
    return Captured(
        id=record.prediction_id,
        at_ms=record.at_ms,
        application=record.application,
        model=call.model,
        version=call.version,
        variant=call.variant,
        operation=call.operation,
        rows=reply.c,
        shared=bool(reply.flags & SHARED),
        request_header=call.header_length,
        request_coding=call.content_coding.decode(),
        answer_header=reply.d,
        answer_coding=call.accepted_coding.decode(),
        request=body,
        answer=reply.body,
    )
