"""What becomes of deprecated versions by themselves: notices to who calls them, and their end."""

from typing import Final

from control.caller_pages import Looked
from control.store.callers import DAY_MS, Callers
from control.store.notices import ANNOUNCED, HELD, Notices
from protocol.errors import Code, TollwayError
from registry.acting import SYSTEM
from registry.clock import Clock
from registry.service import Registry
from registry.store.versions import VersionRecord
from runtime.logs import logger

WARN_DAYS: Final = (30, 7, 1)
"""Days before the sunset at which callers are told again."""


class DeprecationJob:
    """Looks at every deprecated version. Several processes may: each notice is given once."""

    def __init__(
        self, registry: Registry, notices: Notices, callers: Callers, caller_days: int, clock: Clock
    ) -> None:
        """``caller_days``: who has called within them counts as a caller."""
        self._registry = registry
        self._notices = notices
        self._callers = callers
        self._caller_days = caller_days
        self._clock = clock

    def run(self) -> int:
        """Give the notices that are due and retire what is to be retired. Returns how many callers
        were told and versions retired."""
        return sum(self._look_at(version) for version in self._notices.ending())

    def _look_at(self, version: VersionRecord) -> int:
        ending = version.deprecation
        assert ending is not None
        now = self._clock()
        sunset = ending.sunset
        if sunset is not None and ending.retire_at_sunset and sunset * 1000 <= now:
            return self._retire(version, sunset, now)
        told = self._notices.told(version, sunset or 0)
        due = [(name, at) for name, at in due_notices(sunset, now) if name not in told]
        if not due:
            return 0
        looked = Looked.back(self._caller_days, now)
        called = self._callers.every(version.model, version.number, looked)
        callers = [caller for caller in called if not caller.ended]
        left = None if sunset is None else max((sunset * 1000 - now) // DAY_MS, 0)
        announced = (ANNOUNCED, 0) in due
        action = "deprecation.announced" if announced else "deprecation.sunset_near"
        return self._notices.tell(version, action, due, callers, left, now)

    def _retire(self, version: VersionRecord, sunset: int, now: int) -> int:
        try:
            self._registry.lifecycle.transition(
                version.model, version.number, "retired", actor=SYSTEM, reason="its sunset has come"
            )
        except TollwayError as error:
            if error.code is not Code.CONFLICT:
                raise
            # Something still leads there. It is tried again: whoever moves that ends the wait.
            if HELD not in self._notices.told(version, sunset) and self._notices.held(
                version, sunset, error.public, now
            ):
                logger("deprecations").warning(
                    "a version could not be retired at its sunset",
                    model=version.model,
                    version=version.number,
                    reason=error.public,
                )
            return 0
        return 1


def due_notices(sunset: int | None, now: int) -> list[tuple[str, int]]:
    """(name, sunset) of the notices that should have been given by now. UNIX seconds and
    milliseconds. Of a version deprecated late, the first notice stands for those that passed."""
    due = [(ANNOUNCED, 0)]
    if sunset is not None and now < sunset * 1000:
        left = sunset * 1000 - now
        due += [(f"{days} days", sunset) for days in WARN_DAYS if left <= days * DAY_MS]
    return due
