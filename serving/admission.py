"""Honest admission: a request that cannot be answered within its deadline is told so at once.

What a request needs is what is left of the present run, what is queued before it, and its own run,
by the learnt costs; times a stretch by which answers have lately taken longer than that. Everything
that the costs do not know of (a busy machine, a thread that waits for the interpreter) is in the
stretch. It follows the worst of the last seconds: a queue that is kept too short costs nothing as
long as it is never empty, one that is too long costs everybody their deadline.
"""

from collections.abc import Callable
from typing import Final

from protocol.errors import Code, TollwayError
from serving.batcher import Batcher
from serving.call import Call

FLOOR_S: Final = 0.001
"""Waits are compared on top of this: how much longer ten microseconds took says nothing."""
STRETCH_MAX: Final = 4.0
HALF_LIFE_S: Final = 10.0
"""Time in which half of the stretch is forgotten."""
STALE_S: Final = 1.0
"""An idle engine that has run nothing for this long takes a request in any case: costs that were
learnt in a bad moment would otherwise refuse everything for ever."""
SLACK: Final = 1 / 16
"""Part of its queue that an engine works off before it wants to hear of the next request that
would have to be refused: refusing costs less where the gateway does it."""
SMOOTHING: Final = 0.05
_DECAY_EVERY_NS: Final = 10_000_000
_NS: Final = 1e-9


class Admission:
    """Judges requests by what is queued and what runs cost. Times in seconds."""

    def __init__(self, batcher: Batcher, clock_ns: Callable[[], int]) -> None:
        self._batcher = batcher
        self._clock_ns = clock_ns
        self.stretch = 1.0
        self._decode_s = self._encode_s = 0.0
        self._running_until_ns = 0
        self._decayed_ns = self._ran_ns = clock_ns()
        self.refused = 0

    @property
    def request_s(self) -> float:
        """What a request costs beside its run: decoding and encoding."""
        return self._decode_s + self._encode_s

    def expects(self, rows: int, now_ns: int) -> float:
        """Time until a request of ``rows`` rows that came now would be answered, unstretched."""
        batcher = self._batcher
        running_ns = self._running_until_ns - now_ns
        backlog = batcher.backlog_s(rows) + self.request_s * (len(batcher) + 1)
        return backlog + running_ns * _NS if running_ns > 0 else backlog

    def late(self, expected_s: float, left_s: float, now_ns: int) -> float:
        """0 when a request that may take ``left_s`` is taken; else the time that it needs."""
        if expected_s * STRETCH_MAX + FLOOR_S * (STRETCH_MAX - 1) <= left_s:
            return 0.0
        self._forget(now_ns)
        needed = self.stretch * expected_s + (self.stretch - 1) * FLOOR_S
        if needed <= left_s or (
            now_ns >= self._running_until_ns
            and not len(self._batcher)
            and now_ns - self._ran_ns > STALE_S * 1e9
        ):
            return 0.0
        self.refused += 1
        return needed

    def until_taken(self, expected_s: float, needed_s: float, left_s: float) -> float:
        """What to tell the gateway: the time left of a request that needed more, and how long it
        would have had to wait to be taken. The queue runs down unstretched: a wait by the stretched
        account would leave the engine without work."""
        return left_s + (needed_s - left_s) / self.stretch + SLACK * expected_s

    def begins(self, group: list[Call]) -> None:
        """``group`` is run from now on."""
        predicted = self._batcher.predict(group) + self.request_s * len(group)
        self._running_until_ns = self._clock_ns() + int(predicted * 1e9)

    def ends(self, group: list[Call], encoding_ns: int, now_ns: int) -> None:
        """``group`` has been answered: learn how long its first request has taken."""
        self._running_until_ns = 0
        self._ran_ns = now_ns
        self._encode_s += SMOOTHING * (encoding_ns * _NS / len(group) - self._encode_s)
        first = group[0]
        if first.cancelled or not first.expected_s:
            return
        self._forget(now_ns)
        ratio = ((now_ns - first.arrived_ns) * _NS + FLOOR_S) / (first.expected_s + FLOOR_S)
        self.stretch = max(self.stretch, min(ratio, STRETCH_MAX))

    def decoded(self, spent_ns: int) -> None:
        """Decoding a request took this long."""
        self._decode_s += SMOOTHING * (spent_ns * _NS - self._decode_s)

    def _forget(self, now_ns: int) -> None:
        passed = now_ns - self._decayed_ns
        if passed >= _DECAY_EVERY_NS:
            self._decayed_ns = now_ns
            self.stretch = 1.0 + (self.stretch - 1.0) * 0.5 ** (passed * _NS / HALF_LIFE_S)


def too_many_rows_in_time(rows: int) -> TollwayError:
    """The answer to a request that its own rows keep from being answered in time. Others with
    fewer rows may well be, so that it is this request's error, not the engine's state."""
    return TollwayError(
        Code.DEADLINE_UNREACHABLE,
        f"{rows} rows cannot be answered within the request's deadline now: try again soon, send "
        "fewer, or allow more time",
    )
