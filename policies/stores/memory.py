"""Counters in this process's memory: for one gateway alone. Synchronous."""

from collections.abc import Callable

import msgspec

from policies.calendar import day_of, day_start, month_of, month_start
from policies.limits import COMPUTE, COMPUTE_SCALE, Limits, Quota, Rate
from policies.stores.base import ADMITTED, BUSY_RETRY_US, Subscription, Used, Verdict
from policies.windows import Pace, RateCounter, RateCounters, SlidingWindow


class WindowTotal(msgspec.Struct, frozen=True, array_like=True):
    """A window in a snapshot: all of it counts as if it had come at once, at the end."""

    length_us: int
    used: int
    latest_ms: int
    """UNIX milliseconds of the snapshot."""


class SubscriptionTotal(msgspec.Struct, frozen=True, array_like=True):
    """What a subscription has used, as of a snapshot."""

    application: str
    model: str
    day: int
    month: int
    today: tuple[int, int, int]
    before: tuple[int, int, int]
    """This month, before today."""
    windows: tuple[WindowTotal, ...] = ()


class _State:
    """Counters of one subscription."""

    __slots__ = ("active", "before", "day", "held", "in_flight", "limits", "month", "paces",
                 "rates", "today", "windows")  # fmt: skip

    def __init__(self, day: int, month: int) -> None:
        self.limits: Limits | None = None
        self.windows: dict[int, SlidingWindow] = {}
        """By length in microseconds; those of earlier plans stay until they are empty."""
        self.active: list[SlidingWindow] = []
        """Those of the present plan."""
        self.paces: dict[Rate, Pace] = {}
        self.rates = RateCounters(())
        self.day = day
        self.month = month
        self.today = [0, 0, 0]
        self.before = [0, 0, 0]
        """This month, before today."""
        self.held = 0
        self.in_flight = 0

    def adopt(self, limits: Limits, now_us: int) -> None:
        """Count by another plan document. Windows of the same length go on."""
        self.drop_idle(now_us)
        rates: list[RateCounter] = []
        for rate in limits.rates:
            window = self.windows.setdefault(rate.window_us, SlidingWindow(rate.window_us))
            pace = None
            if rate.burst:
                pace = self.paces.setdefault(rate, Pace(rate.interval_us, rate.burst))
            first = all(earlier.window is not window for earlier in rates)
            rates.append(RateCounter(rate.requests, window, pace, counts=first))
        self.rates = RateCounters(rates)
        self.active = [rate.window for rate in rates if rate.counts]
        self.limits = limits

    def drop_idle(self, now_us: int) -> None:
        """Forget windows of earlier plans that have nothing left in them."""
        for length, window in list(self.windows.items()):
            window.advance(now_us)
            if not window.used and window not in self.active:
                del self.windows[length]
        active = [rate.pace for rate in self.rates.rates]
        for rate, pace in list(self.paces.items()):
            if pace not in active and pace.due_us <= now_us:
                del self.paces[rate]

    def turn(self, day: int, month: int) -> None:
        """A new day, and perhaps a new month, has begun."""
        if month != self.month:
            self.before = [0, 0, 0]
        else:
            self.before = [a + b for a, b in zip(self.before, self.today, strict=True)]
        self.today = [0, 0, 0]
        self.day, self.month = day, month


class MemoryCounters:
    """One dictionary of subscriptions. Nothing waits, nothing is shared."""

    kind = "memory"

    def __init__(self, *, now: Callable[[], float], monotonic: Callable[[], float]) -> None:
        """``now`` gives UNIX seconds, for calendar periods; ``monotonic`` seconds of a clock that
        does not jump, for windows."""
        self._now = now
        self._monotonic = monotonic
        self._states: dict[Subscription, _State] = {}
        self._day = self._month = 0
        # Seconds, as floats: they are compared with the clock at every request.
        self._day_begins = self._day_ends = self._month_ends = 0.0

    def take(
        self,
        subscription: Subscription,
        limits: Limits,
        deadline: float,  # noqa: ARG002 -- places in memory end with the process
        charge: bool = True,
    ) -> Verdict:
        """See :class:`policies.stores.base.Counters`."""
        state = self._states.get(subscription) or self._add(subscription)
        now_us = int(self._monotonic() * 1e6)
        if state.limits is not limits:
            state.adopt(limits, now_us)
        rates, quota, places = state.rates, limits.quota, limits.concurrency
        refused, retry_us = rates.look(now_us)
        free = hold = 0
        ends_s = 0.0
        if quota is not None:
            free, ends_s, wait_us = self._look(state, quota, limits.leased)
            if wait_us > retry_us:
                refused, retry_us = len(rates.rates), wait_us
        if places is not None and state.in_flight >= places and retry_us < BUSY_RETRY_US:
            refused, retry_us = len(rates.rates) + (quota is not None), BUSY_RETRY_US
        if charge and refused == ADMITTED:
            state.in_flight += 1
            numbers = rates.take(now_us)
            if quota is not None:
                hold = quota.hold
                state.held += hold
                free -= hold
        else:
            numbers = rates.tell()
        if quota is not None:
            left = free // COMPUTE_SCALE if quota.unit == COMPUTE else free
            numbers.append(left if left > 0 else 0)  # noqa: FURB136
            numbers.append(int(ends_s) + 1)
        if places is not None:
            left = places - state.in_flight
            numbers.append(left if left > 0 else 0)  # noqa: FURB136
        return Verdict(subscription, limits, refused, retry_us, tuple(numbers), hold)

    def settle(self, verdict: Verdict, used: Used) -> None:
        """See :class:`policies.stores.base.Counters`."""
        state = self._states[verdict.subscription]
        state.in_flight -= 1
        state.held -= verdict.hold
        if self._now() >= self._day_ends:
            self._calendar()
        if state.day != self._day:
            state.turn(self._day, self._month)
        today = state.today
        today[0] += used[0]
        today[1] += used[1]
        today[2] += used[2]

    def snapshot(self) -> list[SubscriptionTotal]:
        """What was used and admitted so far. What calls under way hold is not in it: they are not
        acknowledged."""
        self._calendar()
        now_us, now_ms = int(self._monotonic() * 1e6), int(self._now() * 1000)
        found = []
        for (application, model), state in list(self._states.items()):
            if state.day != self._day:
                state.turn(self._day, self._month)
            state.drop_idle(now_us)
            windows = [
                WindowTotal(length, window.used, now_ms)
                for length, window in state.windows.items()
                if window.used
            ]
            before, today = tuple(state.before), tuple(state.today)
            if any(before) or any(today) or windows:
                found.append(
                    SubscriptionTotal(
                        application,
                        model,
                        state.day,
                        state.month,
                        (today[0], today[1], today[2]),
                        (before[0], before[1], before[2]),
                        tuple(windows),
                    )
                )
            elif not state.in_flight and not state.held:
                del self._states[application, model]
        return found

    def restore(self, total: SubscriptionTotal) -> None:
        """Begin from a snapshot's total. Its windows are as full as they were, and stay so for
        their whole length: never less than was admitted."""
        state = self._states.get((total.application, total.model)) or self._add(
            (total.application, total.model)
        )
        if total.month == self._month:
            state.before = list(total.before)
            if total.day == self._day:
                state.today = list(total.today)
            else:
                state.before = [a + b for a, b in zip(total.before, total.today, strict=True)]
        for kept in total.windows:
            window = state.windows.setdefault(kept.length_us, SlidingWindow(kept.length_us))
            window.add(self._past_us(kept.latest_ms), kept.used)

    def replay(self, subscription: Subscription, limits: Limits, at_ms: int, used: Used) -> None:
        """Count a call that was answered before this process began, as of its answer."""
        state = self._states.get(subscription) or self._add(subscription)
        if state.limits is not limits:
            state.adopt(limits, int(self._monotonic() * 1e6))
        past_us = self._past_us(at_ms)
        for window in state.active:
            window.add(past_us)
        if month_of(at_ms / 1000) == self._month:
            counts = state.today if day_of(at_ms / 1000) == self._day else state.before
            for unit, amount in enumerate(used):
                counts[unit] += amount

    def _past_us(self, at_ms: int) -> int:
        """A UNIX time on the monotonic clock; a future one counts as now."""
        age_s = max(0.0, self._now() - at_ms / 1000)
        return int((self._monotonic() - age_s) * 1e6)

    def _add(self, subscription: Subscription) -> _State:
        self._calendar()
        state = self._states[subscription] = _State(self._day, self._month)
        return state

    def _calendar(self) -> float:
        """UNIX seconds; the present day and month are set for them."""
        now = self._now()
        if not self._day_begins <= now < self._day_ends:
            self._day, self._month = day_of(now), month_of(now)
            self._day_begins = float(day_start(self._day))
            self._day_ends = float(day_start(self._day + 1))
            self._month_ends = float(month_start(self._month + 1))
        return now

    def _look(self, state: _State, quota: Quota, leased: bool) -> tuple[int, float, int]:
        """(units left, seconds until the period ends, microseconds until a call is admitted)."""
        now = self._now()
        if not self._day_begins <= now < self._day_ends:
            self._calendar()
        if state.day != self._day:
            state.turn(self._day, self._month)
        unit = quota.unit
        if quota.monthly:
            free = quota.limit - state.today[unit] - state.before[unit] - state.held
            ends_s = self._month_ends - now
        else:
            free = quota.limit - state.today[unit] - state.held
            ends_s = self._day_ends - now
        if free >= quota.hold:
            return free, ends_s, 0
        if leased and free + state.held >= quota.hold:
            return free, ends_s, BUSY_RETRY_US  # calls under way will give some back
        return free, ends_s, int(ends_s * 1e6) + 1
