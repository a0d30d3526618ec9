"""How the engines are doing, for control: asked of each, with rates since it was asked before."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import httpx
import msgspec

from protocol.configuration import EngineDoc
from protocol.figures import EngineFigures, WorkerFigures
from protocol.frames import EngineStats
from runtime.machine import available_bytes, cores, memory_of
from runtime.release import software_version
from serving.fleet import Fleet
from serving.metrics import ask_slot

EVERY_S: Final = 5.0
TIMEOUT_S: Final = 2.0
MAX_REASON: Final = 300
_NS: Final = 1e9
Place = tuple[str, int, int, int | None]
"""Model, version, slot and process: a process that follows another begins at 0 again."""


class Figures:
    """Asks the engines, and remembers what they said before."""

    def __init__(self, worker: str, token: bytes, clock: Callable[[], float]) -> None:
        self._worker = worker
        self._token = token
        self._clock = clock
        self._told: dict[Place, tuple[float, EngineStats]] = {}

    async def run(self, client: httpx.AsyncClient, fleets: Callable[[], Iterable[Fleet]]) -> None:
        """Tell control every few seconds, until cancelled. While it is away nothing is kept: the
        next figures are as good."""
        path = f"/internal/v1/workers/{self._worker}/figures"
        while True:
            await asyncio.sleep(EVERY_S)
            found = await self.take(fleets())
            with contextlib.suppress(httpx.HTTPError):
                await client.put(path, content=msgspec.json.encode(found), timeout=TIMEOUT_S)

    async def take(self, fleets: Iterable[Fleet]) -> WorkerFigures:
        """The figures of now. An engine that does not answer in time has only what is known
        without it."""
        present = list(fleets)
        slots = [slot for fleet in present for slot in fleet.slots.values()]
        stats = await asyncio.gather(*(ask_slot(slot, self._token) for slot in slots))
        engines = [
            self._of(slot.doc, slot.pid, slot.restarts, slot.load_ms, found)
            for slot, found in zip(slots, stats, strict=True)
        ]
        places = {_place(slot.doc, slot.pid) for slot in slots}
        self._told = {place: told for place, told in self._told.items() if place in places}
        return WorkerFigures(
            id=self._worker,
            software=software_version(),
            cores=cores(),
            available_bytes=available_bytes(),
            engines=tuple(engines),
        )

    def _of(
        self,
        doc: EngineDoc,
        pid: int | None,
        restarts: int,
        load_ms: int,
        found: EngineStats | None,
    ) -> EngineFigures:
        known = EngineFigures(
            model=doc.model,
            version=doc.version,
            slot=doc.slot,
            pid=pid or 0,
            memory_bytes=None if pid is None else memory_of(pid),
            restarts=restarts,
            load_ms=load_ms,
        )
        if found is None:
            return known
        place, now = _place(doc, pid), self._clock()
        before = self._told.get(place)
        self._told[place] = now, found
        return msgspec.structs.replace(
            known,
            threads=found.threads,
            queued=found.queued,
            requests=found.success_count,
            batching=found.batching,
            batching_cause=found.batching_cause,
            batching_reason=found.batching_reason[:MAX_REASON],
            **({} if before is None else rates(before[1], found, now - before[0])),
        )


def rates(before: EngineStats, after: EngineStats, seconds: float) -> Mapping[str, float]:
    """What an engine did in that time, by the second."""
    if seconds <= 0:
        return {}
    requests = max(after.success_count - before.success_count, 0)
    rows = max(after.inference_count - before.inference_count, 0)
    ran = max(after.run_ns - before.run_ns, 0) / _NS
    return {
        "requests_per_s": round(requests / seconds, 2),
        "rows_per_s": round(rows / seconds, 2),
        "busy": round(min(ran / seconds, 1.0), 4),
    }


def _place(doc: EngineDoc, pid: int | None) -> Place:
    return doc.model, doc.version, doc.slot, pid
