"""How many engines a version needs: up when its requests queue, down when fewer would do.

A pure function of what engines tell of their work, on a clock that is given. Queueing is judged by
time, not by counts: by how long requests wait beside how long their runs take, and by how long the
engine would still be busy with what it has. The two directions look at different spans of time, so
that an engine that was just started is not stopped again, and the other way round.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

WAIT_S: Final = 0.010
"""Waits below this are nobody's concern, whatever they are beside the run."""
WAIT_TO_RUN: Final = 0.5
"""Requests queue when they wait longer than this part of their run's length."""
SUSTAINED_S: Final = 1.0
"""Queueing that ends before this passed was a burst."""
GAP_S: Final = 0.6
"""Queueing counts as the same while no longer than this lies between two signs of it."""
BUSY: Final = 0.5
"""Share of its time from which an engine counts as busy."""
TARGET: Final = 0.6
"""Share of its time that an engine should be busy, when there are to be fewer of them."""


class EngineLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What one engine did in the last ``span_s`` seconds. Times in seconds."""

    span_s: float
    busy_s: float
    """Time in which it worked: at most ``span_s``."""
    answered: int = 0
    """Requests, refused ones included."""
    waited_s: float = 0.0
    """Sum of the times that requests which were run in this span had waited for it."""
    runs: int = 0
    started: int = 0
    """Requests whose run ended in this span."""
    ran_s: float = 0.0
    """Sum of the runs' lengths."""
    backlog_s: float = 0.0
    """How long what waits now keeps the engine busy; 0: nothing waits."""
    turned_away: int = 0
    """Requests that were refused because their deadline could not be kept."""

    @property
    def queueing(self) -> bool:
        """Whether requests waited for long enough to want another engine.

        They wait for an engine that is busy. Where it is not, the machine is short of processors,
        or nobody could keep such a deadline: another engine would have no more of either.
        """
        if self.share < BUSY:
            return False
        if self.turned_away:
            return True
        run_s = self.ran_s / self.runs if self.runs else 0.0
        wait_s = self.waited_s / self.started if self.started else 0.0
        bearable = max(WAIT_S, WAIT_TO_RUN * run_s)
        return wait_s > bearable or self.backlog_s > max(bearable, run_s)

    @property
    def share(self) -> float:
        """Part of the span in which the engine was busy, 0 to 1."""
        return min(self.busy_s / self.span_s, 1.0) if self.span_s > 0 else 0.0


class Scaler:
    """Decides for one version. ``minimum`` and ``maximum`` hold whatever the load."""

    def __init__(
        self, minimum: int, maximum: int, idle_s: float, clock: Callable[[], float]
    ) -> None:
        """``idle_s``: for how long fewer engines must have been enough before there are fewer."""
        self.minimum = max(minimum, 1)
        self.maximum = max(maximum, self.minimum)
        self._idle_s = idle_s
        self._clock = clock
        self._shares: dict[int, tuple[float, float]] = {}
        """Slot -> when it told its share, and the share. Who tells nothing does nothing."""
        self._queueing_since: float | None = None
        self._queueing_last = -math.inf
        self._needed: deque[tuple[float, int]] = deque()
        """Engines that were needed and when, as far as nothing later needed as many."""
        self._quiet_since = clock()

    def told(self, slot: int, load: EngineLoad) -> None:
        """Learn what an engine did."""
        now = self._clock()
        self._shares[slot] = (now, load.share)
        if load.queueing:
            if self._queueing_since is None or now - self._queueing_last > GAP_S:
                self._queueing_since = now - min(load.span_s, GAP_S)
            self._queueing_last = now
        self._note(now, self._enough(now))

    def forget(self, slot: int) -> None:
        """An engine is gone."""
        self._shares.pop(slot, None)

    def wanted(self, engines: int, starting: int) -> int:
        """How many engines there should be, of which there are ``engines`` (``starting`` of them
        cannot take requests yet)."""
        now = self._clock()
        engines = max(self.minimum, min(engines, self.maximum))
        if now - self._queueing_last > GAP_S:
            self._queueing_since = None
        if self._queueing_since is not None:
            self._note(now, engines)
            if starting or self._queueing_last - self._queueing_since < SUSTAINED_S:
                return engines
            step = max(1, engines // 2)
            self._queueing_since = now  # the next step has to prove itself anew
            return self._changed(now, engines, min(engines + step, self.maximum))
        if now - self._quiet_since < self._idle_s:
            return engines
        self._drop_old(now)
        enough = max([self._enough(now), *(count for _, count in self._needed)])
        return self._changed(now, engines, min(engines, max(enough, self.minimum)))

    def _changed(self, now: float, before: int, after: int) -> int:
        if after != before:
            self._quiet_since = now
        return after

    def _enough(self, now: float) -> int:
        """Engines that could do the present work without being busy all the time."""
        busy = sum(share for at, share in self._shares.values() if now - at <= GAP_S)
        return max(self.minimum, math.ceil(busy / TARGET))

    def _note(self, now: float, needed: int) -> None:
        while self._needed and self._needed[-1][1] <= needed:
            self._needed.pop()
        self._needed.append((now, needed))
        self._drop_old(now)

    def _drop_old(self, now: float) -> None:
        while self._needed and now - self._needed[0][0] > self._idle_s:
            self._needed.popleft()
