"""What every store of counters does: check all limits of a plan, and charge all or none."""

import asyncio
from typing import Protocol

import msgspec

from policies.limits import Limits
from policies.windows import SECOND_US

Subscription = tuple[str, str]
"""Application and model: what limits are counted for."""

ADMITTED = -1
UNREACHABLE = -2
"""The counters did not answer: the plan's fail mode decides."""
BUSY_RETRY_US = SECOND_US
"""When to try again where only the end of other requests can help: nobody knows when that is."""


class Verdict(msgspec.Struct, gc=False):
    """Whether a call is within its limits. Of an admitted call, what it has taken."""

    subscription: Subscription
    limits: Limits
    refused: int
    """:data:`ADMITTED`, :data:`UNREACHABLE`, or which limit refuses: a place in ``rates``, then
    that of the quota, then that of concurrency. Of several, the one that refuses longest."""
    retry_us: int = 0
    """Microseconds until a lone caller is admitted again."""
    numbers: tuple[int, ...] = ()
    """For each rate: what is left, and seconds until there is more. For a quota: what is left and
    seconds until it begins anew. For concurrency: what is left."""
    hold: int = 0
    """Quota units reserved."""
    lease: bytes = b""
    """Names the place among the requests under way. Set by stores that need a name for it."""
    taken_us: int = 0
    """When it was taken, by the store's clock. Set by stores that need to know."""


Used = tuple[int, int, int]
"""What an answered request used, in the order of :data:`policies.limits.UNITS`."""
NOTHING: Used = (0, 0, 0)
"""What a request used that got no answer, or one that is not its caller's to pay for."""


class Counters(Protocol):
    """A store. Limits hold for each subscription; quota is what was used in the calendar period
    under whatever plan with limits; a window counts what was admitted under any plan that has a
    window of the same length. So another plan holds at once, and changing to and fro gains nothing.
    """

    @property
    def kind(self) -> str:
        """What gateways that share limits must agree on: ``memory``, or where the store is."""

    def take(
        self, subscription: Subscription, limits: Limits, deadline: float, charge: bool = True
    ) -> Verdict | asyncio.Future[Verdict]:
        """Check every limit, and charge them all if none refuses. Never raises, never waits for
        longer than the store's timeout.

        ``deadline``: seconds of the event loop's clock at which the call is over. Without
        ``charge`` nothing is taken, and the verdict tells how the counters stand.
        """

    def settle(self, verdict: Verdict, used: Used) -> None:
        """End an admitted call, exactly once: give back its place and its hold, and count what it
        used. Does not wait."""
