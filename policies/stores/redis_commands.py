"""The commands of the counters in Redis, as they are written to the connection."""

import hashlib

from policies.limits import Limits
from policies.stores.base import Subscription
from policies.stores.redis_connection import bulk
from policies.windows import SECOND_US, SLOTS

PREFIX = "tollway:"
LEASES_TTL_MS = 900_000
"""Longer than any request may take."""
COUNTED_TTL_MS = 86_400_000
"""How long it is known which ends were counted: longer than any that is sent again was on its
way."""
FLAG = b"$1\r\n%d\r\n"
LEASE = b"$25\r\n%b\r\n"
NO_LEASE = b"$0\r\n%.0b\r\n"
AMOUNT = b"$15\r\n%015d\r\n"
MICROS = b"$20\r\n%020d\r\n"
"""Bulk strings of one length, whatever the number: the scripts read leading zeros as nothing."""


class Script:
    """A script, called by its digest, and sent whole where Redis does not know it."""

    def __init__(self, text: str) -> None:
        """``text``: in Lua."""
        self.text = text
        digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self._by_digest = bulk("EVALSHA") + bulk(digest)
        self._by_text = bulk("EVAL") + bulk(text)

    def template(self, keys: list[str], given: list[bytes], fixed: list[str | int]) -> bytes:
        """The command by digest as it is written. What is ``given`` at each call, as formats of
        bulk strings, comes before what is ``fixed``."""
        parts = 3 + len(keys) + len(given) + len(fixed)
        head = b"*%d\r\n" % parts + self._by_digest + bulk(len(keys))
        head += b"".join(map(bulk, keys))
        tail = b"".join(map(bulk, fixed))
        return head.replace(b"%", b"%%") + b"".join(given) + tail.replace(b"%", b"%%")

    def whole(self, command: bytes) -> bytes:
        """The command with the script itself, which Redis then knows."""
        return command.replace(self._by_digest, self._by_text, 1)


class Prepared:
    """What does not change from call to call of a subscription under a plan document: most of its
    commands, written out once. Only a few numbers are formatted in at each call."""

    __slots__ = ("limits", "settle", "take")

    def __init__(
        self,
        subscription: Subscription,
        limits: Limits,
        take: Script,
        settle: Script,
        gateway: str,
    ) -> None:
        self.limits = limits
        base = f"{PREFIX}{{{subscription[0]}/{subscription[1]}}}:"
        keys = [base + "used", base + "leases"]
        quota = limits.quota
        unit = "" if quota is None else quota.unit
        hold = 0 if quota is None else quota.hold
        lease = LEASE if limits.leased else NO_LEASE
        self.settle = settle.template(
            [*keys, f"{base}counted:{gateway}"],
            [AMOUNT, lease, MICROS, *3 * [AMOUNT]],
            [unit, hold, COUNTED_TTL_MS],
        )
        """Of the number, the lease, when it was taken, and the three units used."""
        fixed: list[str | int] = [
            unit,
            "" if quota is None else "m" if quota.monthly else "d",
            -1 if quota is None else quota.limit,
            hold,
            -1 if limits.concurrency is None else limits.concurrency,
            int(limits.leased),
            LEASES_TTL_MS,
        ]
        for rate in limits.rates:
            keys += [
                f"{base}window:{rate.window_us // SECOND_US}",
                f"{base}pace:{rate.window_us // SECOND_US}:{rate.requests}:{rate.burst}",
            ]
            slot = rate.window_us // SLOTS
            fixed += [rate.requests, rate.window_us, slot, rate.burst]
        self.take = take.template(keys, [FLAG, LEASE, AMOUNT, MICROS], fixed)
        """Of whether to charge, the lease, its milliseconds, and when that is too late."""
