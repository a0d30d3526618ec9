"""The two algorithms behind a rate limit: an exact sliding window, and an even pace (GCRA).

Pure: time comes in as whole microseconds of any clock that does not run backwards. The Redis store
has the same two algorithms in its script; one suite of tests holds for both.
"""

from collections import deque
from collections.abc import Iterable

SECOND_US = 1_000_000
SLOTS = 200
"""Entries that a window is kept in at most. Admissions closer together than 1/200 of the window
share one and leave the window together, with the last of them: never earlier than they should."""
NEVER_US = -(1 << 62)
"""Before every moment."""
FOREVER_US = 1 << 62
"""After every moment."""


class SlidingWindow:
    """Counts admissions, so that any ``length_us`` microseconds hold at most as many as allowed.

    Exact for admissions that are further apart than a slot; for others it errs by less than a slot
    towards counting them for longer.
    """

    __slots__ = ("closed", "closed_used", "closes_us", "latest_us", "leaves_us", "length_us",
                 "slot_us", "used")  # fmt: skip

    def __init__(self, length_us: int) -> None:
        self.length_us = length_us
        self.slot_us = length_us // SLOTS
        self.used = 0
        """Admissions in the window that ends now, as of the last :meth:`advance`."""
        self.closed: deque[tuple[int, int]] = deque()
        """(latest admission, admissions) of each slot before the present one."""
        self.closed_used = 0
        """The sum of their admissions; the rest of ``used`` is the present slot's."""
        self.latest_us = NEVER_US
        """Latest admission of the present slot."""
        self.closes_us = NEVER_US
        """From when on an admission opens another slot."""
        self.leaves_us = FOREVER_US
        """When the oldest slot leaves the window: until then there is nothing to forget."""

    def advance(self, now_us: int) -> None:
        """Forget what has left the window."""
        closed = self.closed
        horizon = now_us - self.length_us
        while closed and closed[0][0] <= horizon:
            count = closed.popleft()[1]
            self.closed_used -= count
            self.used -= count
        if closed:
            self.leaves_us = closed[0][0] + self.length_us
        elif self.latest_us > horizon:
            self.leaves_us = self.latest_us + self.length_us
        else:
            self.used = 0
            self.latest_us = self.closes_us = NEVER_US
            self.leaves_us = FOREVER_US

    def add(self, now_us: int, count: int = 1) -> None:
        """Count an admission now."""
        if now_us >= self.closes_us:
            if self.used > self.closed_used:
                self.closed.append((self.latest_us, self.used - self.closed_used))
                self.closed_used = self.used
            self.closes_us = now_us + self.slot_us
            self.latest_us = now_us
        elif now_us > self.latest_us:
            self.latest_us = now_us
        self.used += count
        if not self.closed:
            self.leaves_us = self.latest_us + self.length_us

    def wait_us(self, now_us: int, limit: int) -> int:
        """Time until fewer than ``limit`` admissions are left, if none is added."""
        left = self.used
        for latest, count in self.closed:
            left -= count
            if left < limit:
                return latest + self.length_us - now_us
        if limit > 0:
            return self.latest_us + self.length_us - now_us
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

    def look(self, now_us: int) -> tuple[int, int]:
        """(admissions that are possible now, time until one more is; 0 when the whole burst is)."""
        ahead = self.due_us - now_us
        if ahead <= 0:
            return self.burst, 0
        spare = self.tolerance_us - ahead
        if spare < 0:
            return 0, int(-spare) + 1
        # A burst that is whole again must not lack one by a rounding error.
        free = int(spare / self.interval_us + 1e-9) + 1
        return free, int(ahead % self.interval_us) + 1


class RateCounter:
    """One rate limit of a subscription: its window, which others may share, and its pace."""

    __slots__ = ("counts", "first_us", "free", "next_us", "pace", "requests", "window")

    def __init__(
        self, requests: int, window: SlidingWindow, pace: Pace | None, counts: bool
    ) -> None:
        """``counts``: whether this one counts admissions in the window. One of those that share it
        does."""
        self.requests = requests
        self.window = window
        self.pace = pace
        self.counts = counts
        self.first_us = window.length_us if pace is None else int(pace.interval_us)
        """Time after which there is more again when one has been taken of all."""
        self.free = 0
        """Admissions that were possible at the last look; below zero: too many by a plan that
        allows fewer than the one before."""
        self.next_us = 0
        """Time from then until there are more; 0 when there was all."""


class RateCounters:
    """All rate limits of a subscription under one plan. Loops, and nothing called per rate that
    can be done in place: every request comes through here."""

    __slots__ = ("rates",)

    def __init__(self, rates: Iterable[RateCounter]) -> None:
        self.rates = tuple(rates)

    def look(self, now_us: int) -> tuple[int, int]:
        """Bring ``free`` and ``next_us`` of every rate up to date. Returns the place of the one
        that refuses longest, and the time until it admits one; -1 and 0 when all do now."""
        longest, longest_us = -1, 0
        for place, rate in enumerate(self.rates):
            window = rate.window
            if window.leaves_us <= now_us:
                window.advance(now_us)
            used = window.used
            free = rate.requests - used
            next_us = window.leaves_us - now_us if used else 0
            wait_us = window.wait_us(now_us, rate.requests) if free <= 0 else 0
            pace = rate.pace
            if pace is not None:
                if pace.due_us > now_us:
                    paced, pace_us = pace.look(now_us)
                    if paced <= free or paced == 0:
                        next_us = pace_us if paced < free else max(next_us, pace_us)
                        free = paced
                        if paced == 0 and pace_us > wait_us:
                            wait_us = pace_us
                elif pace.burst <= free:
                    free, next_us = pace.burst, 0
            rate.free = free
            rate.next_us = next_us
            if wait_us > longest_us:
                longest, longest_us = place, wait_us
        return longest, longest_us

    def take(self, now_us: int) -> list[int]:
        """Count an admission that the last :meth:`look`, just now, has found possible. Returns for
        each rate what is left after it, and the seconds until there is more."""
        numbers: list[int] = []
        for rate in self.rates:
            if (pace := rate.pace) is not None:
                due_us = pace.due_us
                pace.due_us = (due_us if due_us > now_us else now_us) + pace.interval_us  # noqa: FURB136
            if rate.counts:
                rate.window.add(now_us)
            numbers.append(rate.free - 1)
            numbers.append(-(-(rate.next_us or rate.first_us) // SECOND_US))
        return numbers

    def tell(self) -> list[int]:
        """For each rate what is left, and the seconds until there is more, as of the last
        :meth:`look`."""
        numbers: list[int] = []
        for rate in self.rates:
            numbers += max(0, rate.free), -(-rate.next_us // SECOND_US)
        return numbers
