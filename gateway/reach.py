"""What can be reached of an engine in time, as its connection has learnt from its answers."""

from typing import Final

WAY_SHARE: Final = 0.5
"""At most this part of the time left is kept for the way: a stall must not refuse everything."""
_RISE: Final = 0.2
_FALL: Final = 0.002


class Reach:
    """The way to an engine and back, and until when it is busy. Seconds of the monotonic clock.

    The way is what an answer takes beyond the engine's own account: sockets, event loops, encoding.
    It follows the slow answers, not the mean: it is kept aside from every deadline.
    """

    __slots__ = ("_busy_until", "way_s")

    def __init__(self) -> None:
        self.way_s = 0.0
        self._busy_until = 0.0

    def answered(self, took_s: float, engine_us: int) -> None:
        """An answer came ``took_s`` after its request left; the engine accounts for some of it."""
        over = took_s - engine_us * 1e-6 - self.way_s
        self.way_s += over * (_RISE if over > 0 else _FALL)

    def turned_away(self, now: float, needed_us: int) -> None:
        """The engine would have needed so long for a request that it had to refuse."""
        self._busy_until = now + needed_us * 1e-6

    def left(self, deadline: float, now: float) -> float:
        """What the engine may take for a request with this deadline."""
        left = deadline - now
        return left - min(self.way_s, left * WAY_SHARE)

    def late(self, deadline: float, now: float) -> float:
        """How much too late the answer would come, as far as the engine has said; 0: in time."""
        if now >= self._busy_until:
            return 0.0
        return max(0.0, self._busy_until - now - self.left(deadline, now))
