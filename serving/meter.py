"""What an engine tells its agent of its work, four times a second while there is any.

An engine that has nothing to do tells nothing and has no timer: a machine may hold hundreds.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from serving.scaling import EngineLoad

INTERVAL_S: Final = 0.25
_NS: Final = 1e-9


class Progress(NamedTuple):
    """An engine's counts since its start."""

    succeeded: int
    failed: int
    queue_ns: int
    """Sum of the times that the succeeded ones had waited."""
    runs: int
    run_ns: int
    turned_away: int
    backlog_s: float
    """How long what waits now keeps the engine busy; 0: nothing waits."""
    idle: bool


class Metered(Protocol):
    """The part of the engine that is measured."""

    on_work: Callable[[], None] | None
    """Called by the next request that comes, once."""

    def progress(self) -> Progress:
        """The counts now."""
        ...


class Meter:
    """Watches one engine. Belongs to the thread of the engine's event loop."""

    def __init__(
        self,
        engine: Metered,
        tell: Callable[[EngineLoad], None],
        clock: Callable[[], float] = time.monotonic,
        thread_s: Callable[[], float] = time.thread_time,
    ) -> None:
        """``thread_s``: seconds of processor time of the calling thread."""
        self._engine = engine
        self._tell = tell
        self._clock = clock
        self._thread_s = thread_s
        self._before = engine.progress()
        self._at = self._thread_at = 0.0
        engine.on_work = self._begin

    def _begin(self) -> None:
        self._before = self._engine.progress()
        self._at, self._thread_at = self._clock(), self._thread_s()
        asyncio.get_running_loop().call_later(INTERVAL_S, self.tick)

    def tick(self) -> None:
        """Tell of the time since the last tick, and come again while there is work."""
        now, thread_at = self._clock(), self._thread_s()
        before, after = self._before, self._engine.progress()
        if after.idle and after[:7] == before[:7]:
            self._engine.on_work = self._begin
            return
        run_s = (after.run_ns - before.run_ns) * _NS
        span_s = max(now - self._at, 1e-6)
        self._tell(
            EngineLoad(
                span_s=span_s,
                # Runs are in the loop's thread or in the other one, beside which the loop works:
                # the busier of the two is the engine's bound.
                busy_s=min(max(thread_at - self._thread_at, run_s), span_s),
                answered=after.succeeded + after.failed - before.succeeded - before.failed,
                started=after.succeeded - before.succeeded,
                waited_s=(after.queue_ns - before.queue_ns) * _NS,
                runs=after.runs - before.runs,
                ran_s=run_s,
                backlog_s=after.backlog_s,
                turned_away=after.turned_away - before.turned_away,
            )
        )
        self._before, self._at, self._thread_at = after, now, thread_at
        asyncio.get_running_loop().call_later(INTERVAL_S, self.tick)
