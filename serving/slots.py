"""The life of one engine: fetched, started, ready; restarted when it dies; drained to stop."""

import asyncio
import contextlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from protocol.configuration import AlertDoc, ContractDoc, EngineDoc, EngineState, VersionDoc
from protocol.manifest import canonical_json, sha256_digest
from runtime.logs import logger
from serving.fetch import BlobCache, FetchError
from serving.findings import Findings
from serving.launch import EngineChange, EngineOrder, EngineWord
from serving.places import Place
from serving.process import EngineProcess, StartEngine
from serving.scaling import EngineLoad

RETRY_MIN_S: Final = 0.2
RETRY_MAX_S: Final = 30.0
REFUSED_RETRY_S: Final = 300.0
"""An engine that said why it cannot serve will most likely say so again: ask rarely."""
SURELY_FAILED: Final = 4
"""Attempts in a row after which a version counts as failed, not as still starting: a blob that
control cannot send yet, or an engine killed once, deserves another try first."""
STEADY_S: Final = 60.0
"""An engine that lived this long starts its successor without delay."""


class Slot:
    """Keeps one engine of one version alive until :meth:`stop`."""

    def __init__(
        self,
        version: VersionDoc,
        number: int,
        order: EngineOrder,
        *,
        place: Place,
        blobs: BlobCache,
        loading: asyncio.Semaphore,
        start: StartEngine,
        changed: Callable[[], None],
        findings: Findings,
        told: Callable[[EngineLoad], None],
        load_timeout_s: float,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``changed`` is called whenever :attr:`doc` has become another; ``findings`` keeps what
        engines find; ``told`` gets what the engine tells of its work."""
        self.version = version
        self._order = order
        self._blobs = blobs
        self._loading = loading
        self._start = start
        self._changed = changed
        self._findings = findings
        self._told = told
        self._place = place
        self._load_timeout_s = load_timeout_s
        self._jitter = jitter
        self._process: EngineProcess | None = None
        self.load_ms = 0
        self.restarts = 0
        """How often an engine that had been ready ended by itself, and another was started."""
        self.threads = 1
        """Threads that its runs have, as it said when it was last ready."""
        self._log = logger("slot").bind(model=version.model, version=version.number)
        self.doc = EngineDoc(
            model=version.model,
            version=version.number,
            slot=number,
            address=place.advertised,
            state="starting",
            alerts=() if order.finding is None else (order.finding,),
        )
        self._task = asyncio.create_task(self._live(), name=f"slot {version.model}")

    @property
    def address(self) -> str:
        """Where the engine listens, as this machine reaches it."""
        return self._order.address

    @property
    def pid(self) -> int | None:
        """The engine's process id, while it runs."""
        return None if self._process is None else self._process.pid

    def obey(self, contract: ContractDoc | None) -> None:
        """Have the engine, and its successors, hold requests to a data contract."""
        if contract is self._order.contract or contract == self._order.contract:
            return
        self._order = msgspec.structs.replace(self._order, contract=contract)
        if self._process is not None:
            self._process.tell(EngineChange(contract=contract))

    async def stop(self) -> None:
        """Drain and end the engine; its memory is the system's again when this returns."""
        try:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        finally:
            self._become("stopped")
            self._place.leave()

    async def _live(self) -> None:
        delay, attempts = RETRY_MIN_S, 0
        loop = asyncio.get_running_loop()
        try:
            while True:
                word = await self._load()
                if word.ready:
                    attempts = 0
                    self._order = msgspec.structs.replace(self._order, urgent=True)
                    assert self._process is not None
                    begun = loop.time()
                    self.threads, self.load_ms = word.threads, word.load_ms
                    self._become("ready")
                    self._log.info(
                        "engine ready",
                        load_ms=word.load_ms,
                        pid=self._process.pid,
                        threads=word.threads,
                    )
                    await self._listen(self._process)
                    code = await self._process.wait()
                    self._log.warning("engine died", code=code)
                    self.restarts += 1
                    self._become("starting", f"the engine ended with code {code}")
                    delay = RETRY_MIN_S if loop.time() - begun > STEADY_S else delay
                else:
                    attempts += 1
                    giving_up = word.final or attempts >= SURELY_FAILED
                    self._become("failed" if giving_up else "starting", word.error)
                    self._log.error("engine not ready", error=word.error)
                pause = REFUSED_RETRY_S if word.final else delay
                await asyncio.sleep(pause * (0.5 + self._jitter() / 2))
                delay = min(delay * 2, RETRY_MAX_S)
        finally:
            await self._end()

    async def _listen(self, process: EngineProcess) -> None:
        """Hear the engine out: what it finds is kept, for its successors too."""
        try:
            while (news := await process.news()) is not None:
                if news.load is not None:
                    self._told(news.load)
                if news.alert is not None:
                    await self._take(news.alert)
        except (ValueError, OSError) as error:
            # It serves all the same.
            self._log.error("an engine is not understood", error=repr(error))

    async def _take(self, alert: AlertDoc) -> None:
        self._log.error("alert", kind=alert.kind, reason=alert.message)
        self._order = msgspec.structs.replace(self._order, finding=alert)
        self.doc = msgspec.structs.replace(self.doc, alerts=(alert,))
        self._changed()
        try:
            await asyncio.to_thread(self._findings.keep, self.version.digest, alert)
        except OSError as error:
            # Known for as long as this worker lives, and this engine shares no runs any more.
            self._log.error("an alert is not kept", error=repr(error))

    async def _load(self) -> "_Outcome":
        """One attempt, from the blobs to the engine's word."""
        folder = Path(self._order.folder)
        async with self._loading:
            try:
                await asyncio.to_thread(_check_manifest, self.version)
                await self._blobs.stage(self.version.manifest, folder, urgent=self._order.urgent)
                process = await self._begin()
                word = await asyncio.wait_for(process.word(), self._load_timeout_s)
            except FetchError as error:
                return _Outcome(ready=False, error=str(error))
            except TimeoutError:
                await self._end()
                text = f"the engine did not load within {self._load_timeout_s:.0f} s"
                return _Outcome(ready=False, error=text)
            except OSError as error:
                await self._end()
                return _Outcome(ready=False, error=f"this machine cannot start it: {error}")
            except Exception as error:
                # Whatever an engine says, and whatever is wrong here, must not end the slot: a
                # version that is wanted is tried again, and everybody can read why it is not there.
                self._log.exception("starting the engine failed")
                await self._end()
                return _Outcome(ready=False, error=f"the engine cannot be started: {error!r}")
            finally:
                # The engine has read what it needs, or mapped it: the copies are not needed again.
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if word is None:
            code = await self._end()
            return _Outcome(ready=False, error=f"the engine died while loading (code {code})")
        if not word.ready:
            await self._end()
        return _Outcome(
            ready=word.ready,
            error=word.error,
            load_ms=word.load_ms,
            threads=word.threads,
            final=not word.ready,
        )

    async def _begin(self) -> EngineProcess:
        """Start the process; being cancelled half-way must not lose sight of it."""
        order = self._order
        starting = asyncio.ensure_future(self._start(order))
        try:
            self._process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._process = await starting
            raise
        if self._order.contract != order.contract:  # it changed meanwhile
            self._process.tell(EngineChange(contract=self._order.contract))
        return self._process

    async def _end(self) -> int | None:
        """End the process if there is one, within a bound. Returns its exit code."""
        process, self._process = self._process, None
        return None if process is None else await process.stop(self._order.drain_s)

    def _become(self, state: EngineState, error: str = "") -> None:
        if (state, error) != (self.doc.state, self.doc.error):
            self.doc = msgspec.structs.replace(self.doc, state=state, error=error[:2000])
            self._changed()


class _Outcome(EngineWord, frozen=True, kw_only=True):
    """An engine's word, or what was wrong before it could speak."""

    final: bool = False
    """Whether the engine itself said no."""


def _check_manifest(version: VersionDoc) -> None:
    """Raise :class:`FetchError` unless the manifest is the one that the digest is of: what blobs it
    names is not to be believed then."""
    if sha256_digest(canonical_json(version.manifest)) != version.digest:
        raise FetchError("the version's manifest is not the one that its digest is of")
