"""How much work waits at an engine, and how quickly it gets through it, as its gateway sees it.

Requests differ in cost, and the gateway does not parse them: their size stands for it, with a fixed
part. Engines differ in speed; how much one gets done while it has work is learnt from its answers.
The engine that would be through with a request first gets it.
"""

from typing import Final

FIXED_BYTES: Final = 1024
"""What a request costs beside its body, in bytes of one."""
ALIKE: Final = 1.5
"""Engines whose speeds differ by less than this are treated alike: measuring is not that exact."""
SLOWEST: Final = 16.0
"""No engine counts as slower than this, beside the fastest of its version."""
KEEP: Final = 0.95
"""Part of what was learnt that stays at each :meth:`Load.weigh` with something new."""
FORGIVE: Final = 0.99
"""Part of an engine's handicap that stays at each :meth:`Load.weigh` without: who gets no requests
cannot show that it has become quicker."""


class Load:
    """Of one connection. Seconds of the monotonic clock."""

    __slots__ = ("_busy_s", "_busy_sum", "_done", "_done_sum", "_last", "turn", "weight", "work")

    def __init__(self) -> None:
        self.work = 0
        """What waits for an answer, in bytes."""
        self.weight = 1.0
        """Time that the same work takes beside the fastest engine: 1 for that one and its like."""
        self.turn = 0
        """When it was last chosen: of engines that are equal the one that has waited longest is."""
        self._busy_s = self._busy_sum = 0.0
        self._done = 0
        self._done_sum = 0.0
        self._last = 0.0

    def sent(self, size: int) -> None:
        """A request with a body of ``size`` bytes has left."""
        self.work += size + FIXED_BYTES

    def answered(self, size: int, sent: float, now: float) -> None:
        """It was done."""
        self._worked(sent, now)
        self.work -= size + FIXED_BYTES
        self._done += size + FIXED_BYTES

    def refused(self, size: int) -> None:
        """It was answered without being done."""
        self.work -= size + FIXED_BYTES

    def late(self, size: int, sent: float, now: float) -> None:
        """It was given up: the time is gone, and nothing is done."""
        self._worked(sent, now)
        self.work -= size + FIXED_BYTES

    def _worked(self, sent: float, now: float) -> None:
        self._busy_s += now - (max(self._last, sent))
        self._last = now

    @property
    def pace(self) -> float:
        """Seconds a byte while there was work; 0: not known."""
        return self._busy_sum / self._done_sum if self._done_sum else 0.0

    def learn(self) -> bool:
        """Take in what came since the last time. Whether there was something."""
        if not self._busy_s:
            return False
        self._busy_sum = self._busy_sum * KEEP + self._busy_s
        self._done_sum = self._done_sum * KEEP + self._done
        self._busy_s, self._done = 0.0, 0
        return True


def weigh(loads: list[Load]) -> None:
    """Compare the engines of one version. To be called every few milliseconds under load."""
    fresh = [load.learn() for load in loads]
    paces = [load.pace for load in loads]
    fastest = min((pace for pace in paces if pace), default=0.0)
    for load, pace, is_fresh in zip(loads, paces, fresh, strict=True):
        if not is_fresh:
            load.weight = 1.0 + (load.weight - 1.0) * FORGIVE
        elif pace > ALIKE * fastest:
            load.weight = min(pace / fastest, SLOWEST)
        else:
            load.weight = 1.0
