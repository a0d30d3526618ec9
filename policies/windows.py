"""The two algorithms behind a rate limit: an exact sliding window, and an even pace (GCRA).

Pure: time comes in as whole microseconds of any clock that does not run backwards. The Redis store
has the same two algorithms in its script; one suite of tests holds for both.
"""

from collections import deque

SECOND_US = 1_000_000
SLOTS = 200
"""Entries that a window is kept in at most. Admissions closer together than 1/200 of the window
share one and leave the window together, with the last of them: never earlier than they should."""
NEVER_US = -(1 << 62)
"""Before every moment."""


class SlidingWindow:
    """Counts admissions, so that any ``length_us`` microseconds hold at most as many as allowed.

    Exact for admissions that are further apart than a slot; for others it errs by less than a slot
    towards counting them for longer.
    """

    __slots__ = ("closed", "closed_used", "latest_us", "length_us", "opened_us", "slot_us", "used")

    def __init__(self, length_us: int) -> None:
        self.length_us = length_us
        self.slot_us = length_us // SLOTS
        self.used = 0
        """Admissions in the window that ends now, as of the last :meth:`advance`."""
        self.closed: deque[tuple[int, int]] = deque()
        """(latest admission, admissions) of each slot before the present one."""
        self.closed_used = 0
        """The sum of their admissions; the rest of ``used`` is the present slot's."""
        self.opened_us = self.latest_us = NEVER_US
        """First and latest admission of the present slot."""

    def advance(self, now_us: int) -> int:
        """Forget what has left the window. Returns the time until more leaves it; 0 when it is
        empty."""
        closed = self.closed
        horizon = now_us - self.length_us
        while closed and closed[0][0] <= horizon:
            count = closed.popleft()[1]
            self.closed_used -= count
            self.used -= count
        if closed:
            return closed[0][0] - horizon
        if self.latest_us <= horizon:
            self.used = 0
            self.opened_us = self.latest_us = NEVER_US
            return 0
        return self.latest_us - horizon

    def add(self, now_us: int, count: int = 1) -> None:
        """Count an admission now."""
        if now_us - self.opened_us >= self.slot_us:
            if self.used > self.closed_used:
                self.closed.append((self.latest_us, self.used - self.closed_used))
                self.closed_used = self.used
            self.opened_us = self.latest_us = now_us
        elif now_us > self.latest_us:
            self.latest_us = now_us
        self.used += count

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
        """Admissions that were possible at the last :meth:`look`; below zero: too many by a plan
        that allows fewer than the one before."""
        self.next_us = 0
        """Time from then until there are more; 0 when there was all."""

    def look(self, now_us: int) -> int:
        """Bring ``free`` and ``next_us`` up to date. Returns the time until one is admitted; 0 when
        one is now."""
        window = self.window
        closed = window.closed
        next_us = (closed[0][0] if closed else window.latest_us) + window.length_us - now_us
        if next_us <= 0:
            next_us = window.advance(now_us)
        free = self.requests - window.used
        wait_us = window.wait_us(now_us, self.requests) if free <= 0 else 0
        pace = self.pace
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
        self.free = free
        self.next_us = next_us
        return wait_us

    def take(self, now_us: int, numbers: list[int]) -> None:
        """Count an admission that the last :meth:`look`, just now, has found possible, and tell
        what is left after it."""
        if (pace := self.pace) is not None:
            due_us = pace.due_us
            pace.due_us = (due_us if due_us > now_us else now_us) + pace.interval_us  # noqa: FURB136
        if self.counts:
            self.window.add(now_us)
        numbers.append(self.free - 1)
        numbers.append(-(-(self.next_us or self.first_us) // SECOND_US))

    def tell(self, numbers: list[int]) -> None:
        """Add what is left, and the seconds until there is more, as of the last :meth:`look`."""
        numbers.append(max(0, self.free))
        numbers.append(-(-self.next_us // SECOND_US))
