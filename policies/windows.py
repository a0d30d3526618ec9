"""The two algorithms behind a rate limit: an exact sliding window, and an even pace (GCRA).

Pure: time comes in as whole microseconds of any clock that does not run backwards. The Redis store
has the same two algorithms in its script; one suite of tests holds for both.
"""

from collections import deque

SLOTS = 200
"""Entries that a window is kept in at most. Admissions closer together than 1/200 of the window
share one and leave the window together, with the last of them: never earlier than they should."""


class SlidingWindow:
    """Counts admissions, so that any ``length_us`` microseconds hold at most as many as allowed.

    Exact for admissions that are further apart than a slot; for others it errs by less than a slot
    towards counting them for longer.
    """

    __slots__ = ("_entries", "_length_us", "_slot_us", "used")

    def __init__(self, length_us: int) -> None:
        self._length_us = length_us
        self._slot_us = length_us // SLOTS
        self._entries: deque[list[int]] = deque()
        """[when opened, its latest admission, admissions]"""
        self.used = 0
        """Admissions in the window that ends now, as of the last :meth:`advance`."""

    def advance(self, now_us: int) -> None:
        """Forget what has left the window."""
        entries = self._entries
        horizon = now_us - self._length_us
        while entries and entries[0][1] <= horizon:
            self.used -= entries.popleft()[2]

    def add(self, now_us: int, count: int = 1) -> None:
        """Count an admission now."""
        self.used += count
        entries = self._entries
        if entries:
            last = entries[-1]
            if now_us - last[0] < self._slot_us:
                last[1] = max(last[1], now_us)
                last[2] += count
                return
        entries.append([now_us, now_us, count])

    def next_us(self, now_us: int) -> int:
        """Time until the oldest admission leaves the window; 0 for an empty one."""
        return self._entries[0][1] + self._length_us - now_us if self._entries else 0

    def wait_us(self, now_us: int, limit: int) -> int:
        """Time until fewer than ``limit`` admissions are left, if none is added."""
        left = self.used
        for _, latest, count in self._entries:
            left -= count
            if left < limit:
                return latest + self._length_us - now_us
        return self._length_us


class Pace:
    """The generic cell rate algorithm (ITU-T I.371): ``burst`` at once, then one every interval.

    Any t microseconds hold at most ``burst + t / interval_us`` admissions.
    """

    __slots__ = ("_due_us", "_interval_us", "_tolerance_us", "interval_us")

    def __init__(self, interval_us: float, burst: int) -> None:
        self.interval_us = interval_us
        self._tolerance_us = (burst - 1) * interval_us
        self._due_us = 0.0
        """The theoretical arrival time: when the next admission would come at an even pace."""

    def free(self, now_us: int) -> int:
        """Admissions that are possible now."""
        ahead = max(0.0, self._due_us - now_us)
        if ahead > self._tolerance_us:
            return 0
        # A burst that is whole again must not lack one by a rounding error.
        return int((self._tolerance_us - ahead) / self.interval_us + 1e-9) + 1

    def idle(self, now_us: int) -> bool:
        """Whether nothing is left of earlier admissions."""
        return self._due_us <= now_us

    def wait_us(self, now_us: int) -> int:
        """Time until one more is possible than now; 0 when the whole burst is."""
        ahead = self._due_us - now_us
        if ahead <= 0:
            return 0
        if ahead > self._tolerance_us:
            return int(ahead - self._tolerance_us) + 1
        return int(ahead % self.interval_us) + 1

    def add(self, now_us: int) -> None:
        """Count an admission now."""
        self._due_us = max(self._due_us, float(now_us)) + self.interval_us
