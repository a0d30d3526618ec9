"""Calls for versions that no engine holds because nobody had called for a while.

A worker that has let such a version go listens in its engine's place, says that it is cold, and
loads it when it is woken. So a gateway can wake it whether control is there or not.
"""

import asyncio
from collections.abc import Callable
from math import ceil

from gateway.connection import EngineConnection, Exchange, VersionKey
from protocol.errors import Code, TollwayError

OVERDUE_S = 5.0
"""A worker that was woken and is not ready after this, and twice what its last load took, is taken
for one that cannot: another one is woken as well."""
WANTED_S = 10.0
"""For how long a refused call still wakes a worker that appears after it."""


class ColdStarts:
    """Wakes workers, and keeps the calls that wait. Times in seconds of the loop's clock."""

    def __init__(self, wait_s: Callable[[str, int], float | None], most_waiting: int) -> None:
        """``wait_s``: how long calls of a version may wait for it to be loaded, 0: they are
        refused; None: calls do not load it. At most ``most_waiting`` calls wait at once."""
        self._wait_s = wait_s
        self._most_waiting = most_waiting
        self._cold: dict[VersionKey, list[EngineConnection]] = {}
        self._waiting: dict[VersionKey, list[tuple[float, Exchange]]] = {}
        self._wanted: dict[VersionKey, float] = {}
        self._overdue: dict[VersionKey, float] = {}
        self._due: dict[VersionKey, float] = {}
        """When who was woken is ready, if loading takes what it took the last time."""
        self._loop = asyncio.get_running_loop()
        self.waiting = 0
        """Calls that wait for an engine to be loaded."""
        self.started = 0
        """Workers that were woken."""

    def gauges(self) -> dict[str, tuple[str, Callable[[], float]]]:
        """Metrics, as :class:`gateway.metrics.PredictionMetrics` reads them."""
        return {
            "tollway_cold_waiting": (
                "Requests that wait for their version to be loaded.",
                lambda: self.waiting,
            ),
            "tollway_cold_starts_total": (
                "Workers that were woken for a version that had been let go of.",
                lambda: self.started,
            ),
        }

    def connections(self, key: VersionKey) -> list[EngineConnection]:
        """To the workers that would load the version."""
        return list(self._cold.get(key, ()))

    def add(self, key: VersionKey, connection: EngineConnection) -> None:
        """A worker listens in the place of a version's engine."""
        self._cold.setdefault(key, []).append(connection)
        if key in self._waiting or self._wanted.pop(key, 0.0) > self._loop.time():
            self._wake(key)

    def remove(self, key: VersionKey, connection: EngineConnection) -> None:
        """It does not listen any more."""
        group = self._cold.get(key, [])
        if connection in group:
            group.remove(connection)
        if not group:
            self._cold.pop(key, None)

    def forget_connections(self) -> None:
        """They are added anew."""
        self._cold.clear()

    def take(self, key: VersionKey, exchange: Exchange) -> None:
        """Keep a call until an engine is ready. Raises ``NOT_READY`` where it is not to wait, or
        would wait in vain, as the last load tells."""
        model, version = key
        wait_s = self._wait_s(model, version)
        if wait_s is None:
            raise TollwayError(
                Code.NOT_READY,
                f"no engine is ready for '{model}' version {version}: try again soon",
            )
        now = self._loop.time()
        self._wake(key)
        until = min(now + wait_s, exchange.deadline)
        if not wait_s or until < self._due.get(key, 0.0):
            self._wanted[key] = now + WANTED_S
            raise self._loading(key)
        if self.waiting >= self._most_waiting:
            raise self._loading(key)
        self.waiting += 1
        self._waiting.setdefault(key, []).append((until, exchange))

    def ready(self, key: VersionKey) -> list[Exchange]:
        """An engine is there: the calls that waited for it, in the order of their arrival."""
        self._wanted.pop(key, None)
        self._overdue.pop(key, None)
        self._due.pop(key, None)
        found = [exchange for _, exchange in self._waiting.pop(key, ())]
        self.waiting -= len(found)
        return found

    def sweep(self, now: float) -> None:
        """Refuse the calls that have waited for as long as they may; wake somebody else where who
        was woken does not come."""
        for key, calls in list(self._waiting.items()):
            late = [exchange for until, exchange in calls if until <= now]
            if late:
                left = [call for call in calls if call[0] > now]
                if left:
                    self._waiting[key] = left
                else:
                    del self._waiting[key]
                self.waiting -= len(late)
                for exchange in late:
                    exchange.done(self._loading(key))
            elif now >= self._overdue.get(key, now + 1):
                self._wake(key)

    def close(self) -> None:
        """Answer everybody who still waits, and keep nobody from now on."""
        self._cold.clear()
        self._most_waiting = 0
        for key in list(self._waiting):
            for exchange in self.ready(key):
                exchange.done(self._loading(key))

    def _wake(self, key: VersionKey) -> None:
        """Have a worker load the version, unless one is about to."""
        now = self._loop.time()
        group = self._cold.get(key, ())
        sleeping = next((one for one in group if not one.woken), None)
        if sleeping is None or self._overdue.get(key, 0.0) > now:
            return
        took_s = load_s(sleeping)
        self._overdue[key] = now + OVERDUE_S + 2 * took_s
        self._due[key] = now + took_s
        self.started += 1
        sleeping.wake()

    def _loading(self, key: VersionKey) -> TollwayError:
        again_s = self._due.get(key, 0.0) - self._loop.time()
        return TollwayError(
            Code.NOT_READY,
            f"'{key[0]}' version {key[1]} had not been called for a while and is being loaded: try "
            "again soon",
            retry_after_s=max(1, ceil(again_s)),
        )


def load_s(connection: EngineConnection) -> float:
    """What the last load took where this connection leads to."""
    return 0.0 if connection.hello is None else connection.hello.load_ms / 1000
