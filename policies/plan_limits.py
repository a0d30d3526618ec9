"""Whether the call is within its plan's limits, and what its caller is told of them.

The headers are those of draft-ietf-httpapi-ratelimit-headers: ``RateLimit-Policy`` says what is
allowed, ``RateLimit`` what is left (``r``) and in how many seconds there will be more (``t``).
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from policies.base import Call, Identity
from policies.calendar import day_of, day_start, month_of, month_start
from policies.limits import COMPUTE, COMPUTE_SCALE, UNITS, Header, Limits
from policies.plans import Plans
from policies.stores.base import (
    ADMITTED,
    NOTHING,
    UNREACHABLE,
    Counters,
    Subscription,
    Used,
    Verdict,
)
from policies.windows import SECOND_US
from protocol.errors import Code, TollwayError

PAID = frozenset({200, 400, 422})
"""Answers that count against a quota: what the model answered, and what it could not answer because
of the request itself. Refusals and failures of this system are free."""


HIDDEN = frozenset({Code.MODEL_NOT_FOUND, Code.VERSION_NOT_FOUND})
"""What refuses a call before its subscription is looked at, and yet is no matter of its rights."""


def used_of(status: int, rows: int, compute_us: int) -> Used:
    """What an answer counts against a quota."""
    return (1, rows, compute_us) if status in PAID else NOTHING


class PlanLimitsPolicy:
    """The last policy: only who may call at all can use limits up. A management token has none."""

    def __init__(
        self,
        counters: Counters,
        plans: Plans,
        *,
        now: Callable[[], float],
    ) -> None:
        """``now`` gives UNIX seconds."""
        self._counters = counters
        self._plans = plans
        self._now = now
        self.refusals = {"rate": 0, "quota": 0, "concurrency": 0}
        """Calls refused, by the kind of limit."""
        self.uncounted = {"open": 0, "closed": 0}
        """Calls while the counters did not answer, by the fail mode: passed, or refused."""

    def check(self, call: Call) -> asyncio.Future[None] | None:
        """Charge all limits, or raise ``RATE_LIMITED``, ``QUOTA_EXCEEDED``, ``TOO_MANY_IN_FLIGHT``
        and charge none; ``UNAVAILABLE`` when the counters do not answer and the plan is closed."""
        return self._ask(call, True)

    def look(self, call: Call, refused: Code | None = None) -> asyncio.Future[None] | None:
        """Learn how the limits stand, for the answer to a call that was refused for something else,
        or that they do not concern. Never raises."""
        identity = call.identity
        unasked = call.plan is None and refused in HIDDEN
        if unasked and identity is not None and _may_name(identity, call.model):
            # Refused before its subscription was looked at, which it may well have.
            call.plan = self._plans.of(identity.application, call.model)
        return None if call.verdict is not None else self._ask(call, False)

    def settle(self, call: Call, status: int, rows: int, compute_us: int) -> None:
        """End a call: from here on it is not under way. Harmless for one that took nothing."""
        if call.taken:
            call.taken = False
            verdict = call.verdict
            assert verdict is not None
            self._counters.settle(verdict, (1, rows, compute_us) if status in PAID else NOTHING)

    def limits_of(self, subscription: Subscription) -> Limits | None:
        """The present limits of a subscription; None without one."""
        return self._plans.of(*subscription)

    def headers(self, call: Call) -> tuple[Header, ...]:
        """``RateLimit-Policy`` and ``RateLimit``, as far as they are known."""
        verdict = call.verdict
        # Numbers are told by the terms that they were counted under.
        limits = call.plan if verdict is None else verdict.limits
        if limits is None or not limits.counted:
            return ()
        policy = limits.policy or limits.policy_at(self._now())
        if verdict is None or not verdict.numbers:
            return (policy,)
        return (policy, (b"ratelimit", limits.template % verdict.numbers))

    def _ask(self, call: Call, charge: bool) -> asyncio.Future[None] | None:
        limits = call.plan
        if limits is None or not limits.counted:
            return None
        identity = call.identity
        assert identity is not None
        subscription = (identity.application, call.model)
        found = self._counters.take(subscription, limits, call.deadline, charge)
        if isinstance(found, Verdict):
            self._decide(call, found, charge)
            return None
        waiting: asyncio.Future[None] = found.get_loop().create_future()
        found.add_done_callback(partial(self._decide_later, call, charge, waiting))
        return waiting

    def _decide_later(
        self,
        call: Call,
        charge: bool,
        waiting: asyncio.Future[None],
        found: asyncio.Future[Verdict],
    ) -> None:
        try:
            self._decide(call, found.result(), charge)
        except TollwayError as error:
            waiting.set_exception(error)
        else:
            waiting.set_result(None)

    def _decide(self, call: Call, verdict: Verdict, charge: bool) -> None:
        call.verdict = verdict
        if verdict.refused == ADMITTED:
            call.taken = charge
        elif charge:
            if verdict.refused != UNREACHABLE:
                raise self._refusal(verdict)
            self._uncounted(verdict.limits)

    def _uncounted(self, limits: Limits) -> None:
        if limits.fail_open:
            self.uncounted["open"] += 1
            return
        self.uncounted["closed"] += 1
        raise TollwayError(
            Code.UNAVAILABLE,
            "the counters of limits do not answer, and this plan does not go on without them: "
            "try again soon",
            retry_after_s=1,
        )

    def _refusal(self, verdict: Verdict) -> TollwayError:
        limits = verdict.limits
        wait_s = max(1, -(-verdict.retry_us // SECOND_US))
        again = f"try again in {wait_s} s"
        if verdict.refused < len(limits.rates):
            rate = limits.rates[verdict.refused]
            self.refusals["rate"] += 1
            code = Code.RATE_LIMITED
            text = (
                f"rate limit '{rate.name}' of plan '{limits.name}' is used up: "
                f"{rate.requests} requests in {rate.window_us // SECOND_US} s"
                + (f", {rate.burst} at once" if rate.burst else "")
            )
        elif verdict.refused == len(limits.rates) and limits.quota is not None:
            self.refusals["quota"] += 1
            code = Code.QUOTA_EXCEEDED
            again += f", at {_moment(self._now() + wait_s)}"
            text, again = self._quota_text(verdict, again)
        else:
            self.refusals["concurrency"] += 1
            code = Code.TOO_MANY_IN_FLIGHT
            text = (
                f"plan '{limits.name}' allows {limits.concurrency} requests at once, and as "
                "many are under way"
            )
        return TollwayError(code, f"{text}; {again}", retry_after_s=wait_s)

    def _quota_text(self, verdict: Verdict, again: str) -> tuple[str, str]:
        limits = verdict.limits
        quota = limits.quota
        assert quota is not None
        unit = UNITS[quota.unit]
        scale = COMPUTE_SCALE if quota.unit == COMPUTE else 1
        left = verdict.numbers[2 * len(limits.rates)]
        text = (
            f"the quota of plan '{limits.name}', {quota.limit // scale} {unit} a "
            f"{'month' if quota.monthly else 'day'}, "
        )
        if left:
            text += (
                f"does not suffice for another request: {left} are left, and one request may need "
                f"{quota.hold // scale}"
            )
        else:
            text += "is used up"
        now = self._now()
        ends = month_start(month_of(now) + 1) if quota.monthly else day_start(day_of(now) + 1)
        if verdict.retry_us >= (ends - now - 1) * SECOND_US:
            again += ", when the next period begins, or ask for another plan"
        return text, again


def _may_name(identity: Identity, model: str) -> bool:
    return identity.models is None or model in identity.models


def _moment(seconds: float) -> str:
    """A moment in UNIX seconds as people write it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
