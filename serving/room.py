"""Whether this worker can hold one engine more."""

from collections.abc import Callable, Iterable
from typing import Final

from runtime.machine import available_bytes, memory_of
from serving.fleet import Fleet
from serving.settings import WorkerSettings

_MIB: Final = 1 << 20


class Room:
    """Cores bound how many engines there are beyond each version's minimum, memory every single
    one of them: another engine takes what its sister has taken."""

    def __init__(
        self,
        settings: WorkerSettings,
        available: Callable[[], int | None] = available_bytes,
        taken: Callable[[int], int | None] = memory_of,
    ) -> None:
        """``available``: bytes that new processes can get; ``taken``: bytes that a process has to
        itself. None where the system does not tell: then nothing is held back."""
        self._extra = settings.most_extra_engines
        self._reserve = settings.engines_reserve_mb * _MIB
        self._available = available
        self._taken = taken

    def why_not(self, fleet: Fleet, fleets: Iterable[Fleet]) -> str:
        """Why ``fleet``, of all ``fleets``, cannot have one engine more; empty: it can."""
        extra = sum(max(one.processes - one.minimum, 0) for one in fleets)
        if extra >= self._extra:
            return f"this worker has {extra} extra engines: TOLLWAY_ENGINES_EXTRA_MAX"
        free = self._available()
        if free is None:
            return ""
        sizes = [self._taken(slot.pid) for slot in fleet.slots.values() if slot.pid is not None]
        needed = max((size for size in sizes if size is not None), default=0)
        if free - needed < self._reserve:
            return (
                f"{free // _MIB} MiB of memory are free, an engine takes {needed // _MIB} and "
                f"TOLLWAY_ENGINES_RESERVE_MB keeps {self._reserve // _MIB}"
            )
        return ""
