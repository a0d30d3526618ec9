"""The two algorithms behind a rate limit: an exact sliding window, and an even pace (GCRA).

Pure: time comes in as whole microseconds of any clock that does not run backwards. The Redis store
has the same two algorithms in its script; one suite of tests holds for both.
"""

from collections import deque

SECOND_US = 1_000_000
SLOTS = 200
"""Entries that a window is kept in at most. Admissions closer together than 1/200 of the window
share one and leave the window together, with the last of them: never earlier than they should."""


class SlidingWindow:
    """Counts admissions, so that any ``length_us`` microseconds hold at most as many as allowed.

    Exact for admissions that are further apart than a slot; for others it errs by less than a slot
    towards counting them for longer.
    """

    __slots__ = ("entries", "length_us", "slot_us", "used")

    def __init__(self, length_us: int) -> None:
        self.length_us = length_us
        self.slot_us = length_us // SLOTS
        self.entries: deque[list[int]] = deque()
        """[when opened, its latest admission, admissions]"""
        self.used = 0
        """Admissions in the window that ends now, as of the last :meth:`advance`."""

    def advance(self, now_us: int) -> None:
        """Forget what has left the window."""
        entries = self.entries
        horizon = now_us - self.length_us
        while entries and entries[0][1] <= horizon:
            self.used -= entries.popleft()[2]

    def add(self, now_us: int, count: int = 1) -> None:
        """Count an admission now."""
        self.used += count
        entries = self.entries
        if entries and now_us - (last := entries[-1])[0] < self.slot_us:
            if now_us > last[1]:  # noqa: PLR1730 -- the path of every request
                last[1] = now_us
            last[2] += count
        else:
            entries.append([now_us, now_us, count])

    def wait_us(self, now_us: int, limit: int) -> int:
        """Time until fewer than ``limit`` admissions are left, if none is added."""
        left = self.used
        for _, latest, count in self.entries:
            left -= count
            if left < limit:
                return latest + self.length_us - now_us
        return self.length_us


class Pace:
    """The generic cell rate algorithm (ITU-T I.371): ``burst`` at once, then one every interval.

    Any t microseconds hold at most ``burst + t / interval_us`` admissions.
    """

    __slots__ = ("burst", "due_us", "interval_us", "tolerance_us")

    def __init__(self, interval_us: float, burst: int) -> None:
        self.burst = burst
        self.interval_us = interval_us
        self.tolerance_us = (burst - 1) * interval_us
        self.due_us = 0.0
        """The theoretical arrival time: when the next admission would come at an even pace."""

    def free(self, now_us: int) -> int:
        """Admissions that are possible now."""
        ahead = self.due_us - now_us
        if ahead <= 0:
            return self.burst
        if ahead > self.tolerance_us:
            return 0
        # A burst that is whole again must not lack one by a rounding error.
        return int((self.tolerance_us - ahead) / self.interval_us + 1e-9) + 1

    def wait_us(self, now_us: int) -> int:
        """Time until one more is possible than now; 0 when the whole burst is."""
        ahead = self.due_us - now_us
        if ahead <= 0:
            return 0
        if ahead > self.tolerance_us:
            return int(ahead - self.tolerance_us) + 1
        return int(ahead % self.interval_us) + 1

    def add(self, now_us: int) -> None:
        """Count an admission now."""
        due_us = self.due_us
        self.due_us = (due_us if due_us > now_us else now_us) + self.interval_us  # noqa: FURB136


class RateCounter:
    """One rate limit of a subscription: its window, which others may share, and its pace."""

    __slots__ = ("first_us", "free", "next_us", "pace", "requests", "window")

    def __init__(self, requests: int, window: SlidingWindow, pace: Pace | None) -> None:
        self.requests = requests
        self.window = window
        self.pace = pace
        self.first_us = window.length_us if pace is None else int(pace.interval_us)
        """Time after which there is more again when one has been taken of all."""
        self.free = 0
        """Admissions that were possible at the last :meth:`look`; below zero: too many by a plan
        that allows fewer than the one before."""
        self.next_us = 0
        """Time from then until there are more; 0 when there was all."""

    def look(self, now_us: int) -> int:
        """Bring ``free`` and ``next_us`` up to date. Returns the time until one is admitted; 0 when
        one is now."""
        window = self.window
        entries = window.entries
        horizon = now_us - window.length_us
        while entries and entries[0][1] <= horizon:
            window.used -= entries.popleft()[2]
        free = self.requests - window.used
        next_us = entries[0][1] - horizon if entries else 0
        wait_us = window.wait_us(now_us, self.requests) if free <= 0 else 0
        pace = self.pace
        if pace is not None:
            ahead = pace.due_us - now_us
            if ahead <= 0:
                if pace.burst <= free:
                    free, next_us = pace.burst, 0
            else:
                free, next_us, wait_us = self._paced(pace, now_us, free, next_us, wait_us)
        self.free = free
        self.next_us = next_us
        return wait_us

    @staticmethod
    def _paced(
        pace: Pace, now_us: int, free: int, next_us: int, wait_us: int
    ) -> tuple[int, int, int]:
        """(``free``, ``next_us``, the time to wait) where some of the burst is used up."""
        paced = pace.free(now_us)
        if paced > free and paced > 0:
            return free, next_us, wait_us
        pace_us = pace.wait_us(now_us)
        next_us = pace_us if paced < free else max(next_us, pace_us)
        return paced, next_us, max(wait_us, pace_us) if paced == 0 else wait_us

    def numbers(self, now_us: int, taken: bool) -> tuple[int, int]:
        """(what is left, seconds until there is more) as of the last :meth:`look`, less one that is
        ``taken`` now. The pace counts it; the window is the caller's to count, once for all rates
        that share it."""
        free, next_us = self.free, self.next_us
        if taken:
            free -= 1
            if self.pace is not None:
                self.pace.add(now_us)
            if next_us == 0:
                next_us = self.first_us
        return free if free > 0 else 0, -(-next_us // SECOND_US)  # noqa: FURB136
