"""The engines of one version on this worker: as many as its load wants, within their bounds."""

import asyncio
from collections.abc import Callable
from functools import partial

from protocol.configuration import EngineDoc, VersionDoc
from runtime.logs import logger
from serving.scaling import EngineLoad, Scaler
from serving.slots import Slot

Told = Callable[[EngineLoad], None]
MakeSlot = Callable[[int, Told], Slot]
"""Starts the engine of a slot. Raises ``ValueError`` or ``OSError`` where it has no place."""


class Fleet:
    """Slot 0 proves the version; the others are started beside it, and drained, as the load says.

    An engine that is not wanted any more answers what it has before it ends, and its slot is not
    used again until it has.
    """

    def __init__(
        self,
        version: VersionDoc,
        make: MakeSlot,
        scaler: Scaler,
        *,
        most: Callable[[int], int],
        room: Callable[["Fleet"], str],
        changed: Callable[[], None],
    ) -> None:
        """``most``: engines that there may be, by the threads of each. ``room`` says why there
        cannot be one more; empty: there can."""
        self.version = version
        self.slots: dict[int, Slot] = {}
        self._make = make
        self._scaler = scaler
        self._most = most
        self._room = room
        self._changed = changed
        self._ending: dict[int, asyncio.Task[None]] = {}
        self._log = logger("fleet").bind(model=version.model, version=version.number)
        self.refused = ""
        """Why the last engine that was wanted is not there; empty: it is."""
        self.ups = self.downs = 0
        """Engines started for load, and stopped for want of it."""
        self._start(0)

    @property
    def documents(self) -> list[EngineDoc]:
        """What control is told, by slot."""
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
        """Start or stop engines, if the load has lasted for long enough."""
        if self.slots[0].doc.state == "failed" or not any(
            slot.doc.state == "ready" for slot in self.slots.values()
        ):
            return  # nobody knows yet whether another one would serve
        starting = sum(slot.doc.state != "ready" for slot in self.slots.values())
        threads = max(slot.threads for slot in self.slots.values())
        self._scaler.maximum = self._most(threads)
        wanted = self._scaler.wanted(len(self.slots), starting)
        while len(self.slots) < wanted and self._grow():
            pass
        while len(self.slots) > wanted:
            self._shrink()

    def _grow(self) -> bool:
        number = next(n for n in range(self.processes + 1) if self._is_free(n))
        beyond = len(self.slots) >= self.minimum
        why_not = self._room(self) if beyond else ""
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
        self._changed()
        return True

    def _is_free(self, number: int) -> bool:
        return number not in self.slots and number not in self._ending

    def _start(self, number: int) -> None:
        self.slots[number] = self._make(number, partial(self._told, number))

    def _told(self, number: int, load: EngineLoad) -> None:
        if number in self.slots:
            self._scaler.told(number, load)
            self.adjust()

    def _shrink(self) -> None:
        number = max(self.slots)
        self.downs += 1
        self._log.info("engine taken away", engines=len(self.slots) - 1)
        self._end(number)
        self._changed()

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

    async def stop(self) -> None:
        """Drain and end every engine."""
        for number in list(self.slots):
            self._end(number)
        await asyncio.gather(*self._ending.values())
