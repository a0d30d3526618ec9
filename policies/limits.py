"""A plan's limits, in the form in which the counters check them and callers are told of them.

The headers are those of draft-ietf-httpapi-ratelimit-headers: ``RateLimit-Policy`` says what is
allowed, ``RateLimit`` what is left (``r``) and in how many seconds there will be more (``t``).
"""

import re
from typing import NamedTuple

import msgspec

from policies.calendar import DAY_S, month_of, month_start
from policies.windows import SECOND_US
from protocol.configuration import PlanDoc, QuotaUnit, RateDoc

Header = tuple[bytes, bytes]
UNITS: tuple[QuotaUnit, ...] = ("requests", "rows", "compute_ms")
"""The order in which usage is counted. Compute is counted in microseconds."""
COMPUTE = UNITS.index("compute_ms")
COMPUTE_SCALE = 1000
"""Microseconds in the unit that a compute quota is given in."""
_UNPRINTABLE = re.compile(r"[^ !#-\[\]-~]")


class Rate(NamedTuple):
    """At most ``requests`` in any ``window_us``; with a ``burst``, at an even pace after it."""

    name: str
    requests: int
    window_us: int
    burst: int
    """0: the window's requests may come at once."""

    @property
    def interval_us(self) -> float:
        """Time between two requests at an even pace."""
        return self.window_us / max(1, self.requests)


class Quota(msgspec.Struct, frozen=True, gc=False):
    """At most ``limit`` units (compute: microseconds) in a calendar period."""

    limit: int
    unit: int
    """Place in :data:`UNITS`."""
    monthly: bool
    hold: int
    """Units that a request reserves before they are known. Its true number replaces them after the
    answer. With the plan's ``max_rows`` no request can use more than it holds, and the quota is
    never overrun; without, by at most what the requests then under way use beyond their hold."""


class Limits:
    """What a plan limits, with all about it that does not change from call to call. Made once for
    each plan document; compared by identity."""

    __slots__ = ("_from", "_policy", "_until", "concurrency", "counted", "deadline_s", "fail_open",
                 "leased", "max_body_bytes", "max_rows", "name", "policy", "quota", "rates",
                 "scopes", "template")  # fmt: skip

    def __init__(self, plan: PlanDoc) -> None:
        self.name = plan.name
        self.scopes = plan.scopes
        self.max_rows = plan.max_rows
        self.max_body_bytes = plan.max_body_bytes
        self.deadline_s = None if plan.deadline_ms is None else plan.deadline_ms / 1000
        self.rates = tuple(_rate(rate) for rate in plan.rates)
        self.quota = _quota(plan)
        self.concurrency = plan.concurrency
        self.fail_open = plan.fail_open
        self.counted = bool(self.rates) or self.quota is not None or self.concurrency is not None
        """Whether there is anything to count at all."""
        self.leased = self.concurrency is not None or (
            self.quota is not None and self.quota.hold > 1
        )
        """Whether it matters how many requests are under way."""
        template = [f"{quoted(rate.name).replace('%', '%%')};r=%d;t=%d" for rate in self.rates]
        if self.quota is not None:
            template.append('"quota";r=%d;t=%d')
        if self.concurrency is not None:
            template.append('"concurrency";r=%d')
        self.template = ", ".join(template).encode()
        """``RateLimit``, with a place for each number of a verdict."""
        monthly = self.quota is not None and self.quota.monthly
        self.policy = None if monthly else self._header(DAY_S)
        """``RateLimit-Policy``; None where it is another every month."""
        self._policy: Header = (b"ratelimit-policy", b"")
        self._from = self._until = 0.0

    def policy_at(self, now: float) -> Header:
        """``RateLimit-Policy`` at ``now``, UNIX seconds: months are not of the same length."""
        if not self._from <= now < self._until:
            month = month_of(now)
            begins, ends = month_start(month), month_start(month + 1)
            self._from, self._until = begins, ends
            self._policy = self._header(ends - begins)
        return self._policy

    def _header(self, period_s: int) -> Header:
        """``period_s``: seconds of the quota's period."""
        found = [
            f"{quoted(rate.name)};q={rate.requests};w={rate.window_us // SECOND_US}"
            for rate in self.rates
        ]
        if (quota := self.quota) is not None:
            allowed = quota.limit // COMPUTE_SCALE if quota.unit == COMPUTE else quota.limit
            unit = "" if quota.unit == 0 else f';qu="{UNITS[quota.unit]}"'
            found.append(f'"quota";q={allowed}{unit};w={period_s}')
        if self.concurrency is not None:
            found.append(f'"concurrency";q={self.concurrency};qu="concurrent-requests"')
        return (b"ratelimit-policy", ", ".join(found).encode())


def quoted(name: str) -> str:
    """``name`` as a string of structured fields (RFC 9651), without what such cannot hold."""
    return '"' + _UNPRINTABLE.sub("_", name) + '"'


def _rate(rate: RateDoc) -> Rate:
    paced = rate.burst is not None and rate.burst < rate.requests
    burst = max(1, rate.burst or 1) if paced else 0
    return Rate(rate.name, rate.requests, max(1, rate.window_s) * SECOND_US, burst)


def _quota(plan: PlanDoc) -> Quota | None:
    quota = plan.quota
    if quota is None:
        return None
    unit = UNITS.index(quota.unit)
    limit = quota.limit * COMPUTE_SCALE if unit == COMPUTE else quota.limit
    hold = COMPUTE_SCALE if unit == COMPUTE else 1
    if quota.unit == "rows" and plan.max_rows is not None:
        # A request that may be larger than the whole quota must not be locked out by its hold.
        hold = max(1, min(plan.max_rows, limit))
    return Quota(limit, unit, quota.period == "month", hold)
