"""The worker's agent: follows the configuration, keeps engines per loaded version, reports."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import msgspec

from protocol.configuration import (
    CALLABLE_STATES,
    FINAL_STATES,
    ContractDoc,
    ModelDoc,
    VersionDoc,
    WorkerDoc,
)
from runtime.follower import RETRY_MAX_S, ChangeFollower
from runtime.logs import logger
from runtime.machine import PROCESSORS, cores
from runtime.release import software_version
from serving.collecting import Collector
from serving.fetch import ARTIFACT, BACKGROUND, GOLDEN, BlobCache
from serving.figures import Figures
from serving.findings import Findings
from serving.fleet import Fleet, Surroundings, Told
from serving.launch import EngineOrder
from serving.places import Place, Places
from serving.process import StartEngine
from serving.room import Room
from serving.scaling import Scaler
from serving.settings import WorkerSettings
from serving.slots import Slot

HEARTBEAT_S: Final = 5.0
REPORT_RETRY_S: Final = 0.5
KINDS: Final = frozenset({"model", "version"})
"""Documents that a worker decides by. It holds no others: no key's hash is on its disk."""
LAST_COLLECTION_S: Final = 1.0
"""Time for bringing over what engines have compared, before they end."""
LOOK_S: Final = 0.5
"""How often fleets are looked at. Engines without work tell nothing, so that somebody must."""

Key = tuple[str, int]


class Agent:
    """One worker. Engines start from the disk copy and the blob cache when control is away."""

    def __init__(
        self,
        settings: WorkerSettings,
        client: httpx.AsyncClient,
        cluster_token: str,
        start: StartEngine,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._client = client
        self._token = cluster_token
        self._start = start
        self._root = settings.data_dir / f"worker-{settings.worker_id}"
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._blobs = BlobCache(self._root, client, settings.blobs_nearby)
        self._findings = Findings(self._root / "findings")
        self.follower = ChangeFollower(
            client, self._root / "changes.journal", self._apply, kinds=KINDS
        )
        self._loading = asyncio.Semaphore(settings.loading_at_once)
        self._versions: dict[str, VersionDoc] = {}
        self._models: dict[str, ModelDoc] = {}
        self.fleets: dict[Key, Fleet] = {}
        self._stopping: dict[Key, asyncio.Task[None]] = {}
        self._leaving = asyncio.Event()
        """Set when the worker ends: nothing lingers then."""
        self._reconcile_wanted = asyncio.Event()
        self._report_wanted = asyncio.Event()
        self._places = Places(settings)
        self._room = Room(settings)
        self._figures = Figures(settings.worker_id, cluster_token.encode(), clock)
        self._collector = Collector(
            client, cluster_token.encode(), self.fleets.values, self._shadows
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; then drain every engine and take leave of control."""
        self.follower.load()
        tasks = [
            asyncio.create_task(self.follower.run()),
            asyncio.create_task(self._reconcile()),
            asyncio.create_task(self._report()),
            asyncio.create_task(self._look()),
            asyncio.create_task(self._collector.run()),
            asyncio.create_task(self._figures.run(self._client, self.fleets.values)),
            asyncio.create_task(stop.wait()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a defect ends the agent, and its supervisor starts another
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._leaving.set()
            await self._collect_the_rest()
            await asyncio.gather(*(fleet.stop() for fleet in self.fleets.values()))
            await asyncio.gather(*self._stopping.values())
            with contextlib.suppress(httpx.HTTPError):
                await self._client.delete(self._path, timeout=2.0)

    @property
    def slots(self) -> list[Slot]:
        """Every engine's slot."""
        return [slot for fleet in self.fleets.values() for slot in fleet.slots.values()]

    @property
    def _path(self) -> str:
        return f"/internal/v1/workers/{self._settings.worker_id}"

    def ready(self) -> bool:
        """Whether the configuration is known and every engine that can be ready is."""
        return self.follower.synchronised.is_set() and all(
            slot.doc.state in ("ready", "failed") for slot in self.slots
        )

    def document(self) -> WorkerDoc:
        """What control is told."""
        engines = [doc for _, fleet in sorted(self.fleets.items()) for doc in fleet.documents]
        return WorkerDoc(id=self._settings.worker_id, engines=tuple(engines))

    def _apply(self, changes: list[tuple[str, str, msgspec.Struct | None]], reset: bool) -> None:
        if reset:
            self._versions.clear()
            self._models.clear()
        for kind, key, document in changes:
            if isinstance(document, VersionDoc):
                self._versions[key] = document
            elif isinstance(document, ModelDoc):
                self._models[key] = document
            elif document is None:
                (self._versions if kind == "version" else self._models).pop(key, None)
        for (model, _), fleet in self.fleets.items():
            fleet.obey(self._contract(model))
        self._reconcile_wanted.set()

    def _wanted(self) -> dict[Key, VersionDoc]:
        """What needs an engine here. For remote versions, which have no artifact, gateways ask."""
        return {
            (doc.model, doc.number): doc
            for doc in self._versions.values()
            if doc.loaded and doc.state not in FINAL_STATES and doc.manifest.artifact is not None
        }

    async def _reconcile(self) -> None:
        """Make the engines what the configuration says. Touches no engine that stays as it is."""
        while True:
            await self._reconcile_wanted.wait()
            self._reconcile_wanted.clear()
            wanted = self._wanted()
            for key, fleet in list(self.fleets.items()):
                now = wanted.get(key)
                if now is None or now.digest != fleet.version.digest or _try_again(fleet, now):
                    del self.fleets[key]
                    self._stopping[key] = asyncio.create_task(self._end(key, fleet))
            for key, version in wanted.items():
                if key not in self.fleets and key not in self._stopping:
                    try:
                        self.fleets[key] = self._fleet(version)
                    except (ValueError, OSError) as error:
                        logger("agent").error("no engine", model=version.model, error=str(error))
            try:
                await asyncio.to_thread(
                    self._blobs.keep_only, [version.manifest for version in wanted.values()]
                )
            except OSError as error:
                # Blobs that are kept too long cost space; engines serve without them.
                logger("agent").warning("cannot drop blobs", error=str(error))
            self._report_wanted.set()

    async def _end(self, key: Key, fleet: Fleet) -> None:
        try:
            await self._linger(fleet)
            await self._collect_the_rest([fleet])
            await fleet.stop()
        finally:
            del self._stopping[key]
            self._reconcile_wanted.set()  # the same version may be wanted again by now

    async def _linger(self, fleet: Fleet) -> None:
        """Control is told at once that the engines go, and every gateway hears of where calls go
        instead before it hears of that. Until the last has heard of it, they answer."""
        if any(doc.state == "ready" for doc in fleet.documents):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), self._settings.engine_linger_s)

    async def _collect_the_rest(self, fleets: Iterable[Fleet] | None = None) -> None:
        """Bring over what engines that are to end have compared."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_COLLECTION_S):
                await self._collector.collect(fleets)

    def _shadows(self) -> set[Key]:
        """Versions that score what others have answered."""
        return {
            (model.name, shadow.version)
            for model in self._models.values()
            for shadow in model.shadows
        }

    async def _look(self) -> None:
        """Take away the engines that nobody has needed for a while."""
        while True:
            await asyncio.sleep(LOOK_S)
            for fleet in self.fleets.values():
                fleet.adjust()

    def _fleet(self, version: VersionDoc) -> Fleet:
        settings = self._settings
        scaler = Scaler(
            settings.engines_min, settings.most_engines(), settings.engines_idle_s, self._clock
        )
        around = Surroundings(
            place=partial(self._places.take, version.model, version.number),
            make=partial(self._slot, version),
            most=settings.most_engines,
            room=lambda fleet: self._room.why_not(fleet, self.fleets.values()),
            idle_unload_s=partial(self._idle_unload_s, version.model, version.number),
            changed=self._report_wanted.set,
            clock=self._clock,
            cluster_token=None if settings.engine_host is None else self._token.encode(),
        )
        # A worker that starts must not load everything that was let go of: it has room for less.
        cold = (
            self._idle_unload_s(version.model, version.number) > 0
            and version.state in CALLABLE_STATES
            and self._blobs.has(version.manifest)
        )
        return Fleet(version, scaler, around, cold=cold)

    def _idle_unload_s(self, model: str, version: int) -> int:
        """A shadow is there while it is one: nobody calls it."""
        document = self._models.get(model)
        if document is None or any(shadow.version == version for shadow in document.shadows):
            return 0
        return document.idle_unload_s

    def _contract(self, model: str) -> ContractDoc | None:
        document = self._models.get(model)
        return None if document is None else document.contract

    def _is_urgent(self, version: VersionDoc, number: int) -> bool:
        """Whether callers wait for an engine, to wake a version or to share its load, or there is
        nobody here whom its loading could hold up."""
        known = (version.model, version.number) in self.fleets
        if known and (number == 0 or number >= self._settings.engines_min):
            return True
        return all(slot.doc.state != "ready" for slot in self.slots)

    def _slot(
        self,
        version: VersionDoc,
        number: int,
        place: Place,
        told: Told,
        changed: Callable[[], None],
    ) -> Slot:
        settings = self._settings
        name = f"{version.model}-{version.number}-{number}"
        order = EngineOrder(
            model=version.model,
            version=version.number,
            slot=number,
            digest=version.digest,
            manifest=version.manifest,
            folder=str(self._root / "engines" / name),
            address=place.address,
            cluster_token=self._token,
            max_queue_requests=settings.max_queue_requests,
            max_queue_bytes=settings.max_queue_bytes,
            max_batch_rows=settings.max_batch_rows,
            max_frame_bytes=settings.max_frame_bytes,
            finding=self._findings.of(version.digest),
            urgent=self._is_urgent(version, number),
            threads=settings.engine_threads,
            cores=max(cores() // settings.engines_min, 1),
            processors=tuple(sorted(PROCESSORS)),
            contract=self._contract(version.model),
            drain_s=settings.engine_drain_s,
            log_level=settings.log_level,
            log_format=settings.log_format,
            software=software_version(),
            artifact=ARTIFACT,
            golden=GOLDEN if version.manifest.golden is not None else None,
            background=BACKGROUND if version.manifest.background else None,
            explain_max_rows=settings.explain_max_rows,
            explain_max_evaluations=settings.explain_max_evaluations,
        )
        return Slot(
            version,
            number,
            order,
            place=place,
            blobs=self._blobs,
            loading=self._loading,
            start=self._start,
            changed=changed,
            findings=self._findings,
            told=told,
            load_timeout_s=settings.engine_load_timeout_s,
        )

    async def _report(self) -> None:
        """Tell control on every change, and every few seconds that we live."""
        failing_since: float | None = None
        told = False
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._report_wanted.wait(), HEARTBEAT_S)
            self._report_wanted.clear()
            if not self.follower.synchronised.is_set():
                continue  # an empty report would take engines away that another start had promised
            try:
                response = await self._client.put(
                    self._path, content=msgspec.json.encode(self.document())
                )
                response.raise_for_status()
                failing_since, told = None, False
            except httpx.HTTPError as error:
                now = self._clock()
                failing_since = now if failing_since is None else failing_since
                # At a start of everything, control may well be the last to be there.
                if not told and now - failing_since >= RETRY_MAX_S:
                    logger("agent").warning("control takes no report", error=repr(error))
                    told = True
                self._report_wanted.set()
                await asyncio.sleep(REPORT_RETRY_S)


def _try_again(fleet: Fleet, now: VersionDoc) -> bool:
    """Whether a version whose engine failed has changed since, so that it may work now."""
    return now != fleet.version and any(doc.state == "failed" for doc in fleet.documents)


def make_run_dir(path: Path) -> None:
    """The folder of the engines' sockets, closed to other users."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
