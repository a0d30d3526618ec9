"""The engines of one version on this worker: as many as its load wants, within their bounds.

A version that nobody calls for long enough has none, if its model says so: then a
:class:`serving.standby.Standby` listens in its first engine's place, and a call brings that back.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from protocol.configuration import ContractDoc, EngineDoc, VersionDoc
from protocol.frames import Hello
from runtime.logs import logger
from serving.places import Place
from serving.scaling import EngineLoad, Scaler
from serving.slots import Slot
from serving.standby import Standby

Told = Callable[[EngineLoad], None]


class Surroundings(NamedTuple):
    """What a fleet needs of its agent."""

    place: Callable[[int], Place]
    """A slot's place. Raises ``ValueError`` where there is none."""
    make: Callable[[int, Place, Told, Callable[[], None]], Slot]
    """Starts the engine of a slot; the last is called when its document has changed."""
    most: Callable[[int], int]
    """Engines that there may be, by the threads of each."""
    room: Callable[["Fleet"], str]
    """Why there cannot be one engine more; empty: there can."""
    idle_unload_s: Callable[[], int]
    """Seconds without a call after which there is no engine; 0: there always is."""
    changed: Callable[[], None]
    """Called when control is to be told."""
    clock: Callable[[], float]
    cluster_token: bytes | None
    """What peers of a standby must prove; None over Unix sockets."""


class Fleet:
    """Slot 0 proves the version; the others are started beside it, and drained, as the load says.

    An engine that is not wanted any more answers what it has before it ends, and its slot is not
    used again until it has.
    """

    def __init__(
        self, version: VersionDoc, scaler: Scaler, around: Surroundings, *, cold: bool = False
    ) -> None:
        """``cold``: begin without an engine. Raises ``ValueError`` or ``OSError`` where the first
        engine has no place."""
        self.version = version
        self.slots: dict[int, Slot] = {}
        self._scaler = scaler
        self._around = around
        self._ending: dict[int, asyncio.Task[None]] = {}
        self._resting: asyncio.Task[None] | None = None
        self._standby: Standby | None = None
        self._place: Place | None = None
        """Where it listens."""
        self._rest: EngineDoc | None = None
        """What control is told while there is no engine."""
        self._overdue = False
        """Whether an engine is wanted again and could not be started."""
        self._called_at = around.clock()
        self._load_ms = 0
        self._log = logger("fleet").bind(model=version.model, version=version.number)
        self.refused = ""
        """Why the last engine that was wanted is not there; empty: it is."""
        self.told = 0
        """How often engines have told of their work."""
        self.ups = self.downs = self.wakes = 0
        """Engines started for load, and stopped for want of it; cold starts."""
        if cold:
            self._go_to_rest()
        else:
            self._start(0)

    @property
    def documents(self) -> list[EngineDoc]:
        """What control is told, by slot."""
        if self._rest is not None:
            return [self._rest]
        return [slot.doc for _, slot in sorted(self.slots.items())]

    @property
    def processes(self) -> int:
        """Engines that there are, those that are ending included."""
        return len(self.slots) + len(self._ending)

    @property
    def minimum(self) -> int:
        """Engines that there are in any case, once the version has proven itself."""
        return self._scaler.minimum

    def adjust(self) -> None:
        """Start or stop engines, if the load, or its absence, has lasted for long enough."""
        if self._rest is not None:
            if self._overdue:
                self._load_again()
            elif not self._around.idle_unload_s():
                self._wake()
            return
        states = {slot.doc.state for slot in self.slots.values()}
        if self.slots[0].doc.state == "failed" or "ready" not in states:
            self._called_at = self._around.clock()
            return  # nobody knows yet whether another one would serve
        idle_s = self._around.idle_unload_s()
        if idle_s and self._around.clock() - self._called_at >= idle_s and states == {"ready"}:
            self._go_to_rest()
            return
        threads = max(slot.threads for slot in self.slots.values())
        self._scaler.maximum = self._around.most(threads)
        starting = sum(slot.doc.state != "ready" for slot in self.slots.values())
        wanted = self._scaler.wanted(len(self.slots), starting)
        while len(self.slots) < wanted and self._grow():
            pass
        while len(self.slots) > wanted:
            self._shrink()

    def obey(self, contract: ContractDoc | None) -> None:
        """Have every engine hold requests to a data contract."""
        for slot in self.slots.values():
            slot.obey(contract)

    def _grow(self) -> bool:
        number = next(n for n in range(self.processes + 1) if self._is_free(n))
        beyond = len(self.slots) >= self.minimum
        why_not = self._around.room(self) if beyond else ""
        if not why_not:
            try:
                self._start(number)
            except (ValueError, OSError) as error:
                why_not = str(error)
        if why_not:
            if why_not != self.refused:
                self._log.warning("no further engine", reason=why_not)
            self.refused = why_not
            return False
        self.refused = ""
        if beyond:
            self.ups += 1
            self._log.info("engine added", engines=len(self.slots))
        self._around.changed()
        return True

    def _is_free(self, number: int) -> bool:
        return number not in self.slots and number not in self._ending

    def _start(self, number: int) -> None:
        place = self._around.place(number)
        try:
            self.slots[number] = self._around.make(
                number, place, partial(self._told, number), self._slot_changed
            )
        except BaseException:
            place.leave()
            raise

    def _told(self, number: int, load: EngineLoad) -> None:
        self._called_at = self._around.clock()
        self.told += 1
        if number in self.slots:
            self._scaler.told(number, load)
            self.adjust()

    def _slot_changed(self) -> None:
        first = self.slots.get(0)
        if first is not None and first.doc.state in {"ready", "failed"}:
            self._load_ms = first.load_ms
            if self._standby is not None and self._rest is None:
                self._standby.close()  # its peers find the engine in its place
                self._standby = None
        self._around.changed()

    def _shrink(self) -> None:
        number = max(self.slots)
        self.downs += 1
        self._log.info("engine taken away", engines=len(self.slots) - 1)
        self._end(number)
        self._around.changed()

    def _end(self, number: int) -> None:
        self._scaler.forget(number)
        self._ending[number] = asyncio.create_task(self._ended(number, self.slots.pop(number)))

    async def _ended(self, number: int, slot: Slot) -> None:
        try:
            await slot.stop()
        except Exception:
            self._log.exception("an engine did not end well")
        finally:
            del self._ending[number]

    # without engines

    def _go_to_rest(self) -> None:
        if 0 in self.slots:
            self._rest = msgspec.structs.replace(self.slots[0].doc, state="cold")
        else:
            place = self._around.place(0)
            place.leave()  # known, and taken again when it is listened on
            self._rest = EngineDoc(
                model=self.version.model,
                version=self.version.number,
                slot=0,
                address=place.advertised,
                state="cold",
            )
        self._log.info("no calls: the engines end", engines=len(self.slots))
        for number in list(self.slots):
            self._end(number)
        self._resting = asyncio.create_task(self._stand_by())
        self._around.changed()

    async def _stand_by(self) -> None:
        """Listen in the first engine's place, once that has ended."""
        if self._ending:
            await asyncio.wait(self._ending.values())
        version = self.version
        hello = Hello(version.model, version.number, version.digest, load_ms=self._load_ms)
        standby = Standby(hello, self._around.cluster_token, self._wake)
        try:
            self._place = self._around.place(0)
            await standby.open(self._place.address)
        except (ValueError, OSError) as error:
            # Nobody could call for it: it is better held in memory than lost.
            self._log.error("cannot listen for calls: the engine is loaded", error=repr(error))
            self._load_again()
            return
        self._standby = standby

    def _wake(self) -> None:
        """Somebody calls the version, or it is to be there always."""
        if self._rest is not None and self._standby is not None:
            self._standby.leave()
            self._load_again()

    def _load_again(self) -> None:
        if self._place is not None:
            self._place.leave()
            self._place = None
        self._called_at = self._around.clock()
        try:
            self._start(0)
        except (ValueError, OSError) as error:
            if not self._overdue:  # adjust() tries again
                self._log.error("called, and no engine can be started", error=repr(error))
            self._overdue = True
            return
        self._overdue = False
        self._rest = None
        self.wakes += 1
        self._log.info("called: the engine is loaded")
        self._around.changed()

    async def stop(self) -> None:
        """Drain and end every engine, and listen no more."""
        if self._resting is not None:
            self._resting.cancel()
            await asyncio.gather(self._resting, return_exceptions=True)
        if self._standby is not None:
            self._standby.close()
        if self._place is not None:
            self._place.leave()
        for number in list(self.slots):
            self._end(number)
        if self._ending:
            await asyncio.wait(self._ending.values())
