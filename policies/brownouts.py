"""Whether a deprecated version refuses calls now, as it will at its end."""

from collections.abc import Callable
from math import ceil

from policies.base import Call
from policies.lifecycle import towards_successor
from protocol.errors import Code, TollwayError


class BrownoutPolicy:
    """Refuses the calls that name a version while it is browned out.

    Whom the model's rollout or a label sent there has not chosen the version and could do nothing
    about it: they are answered as ever.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        """``now`` gives UNIX seconds."""
        self._now = now

    def check(self, call: Call) -> None:
        """Raise ``BROWNOUT`` during a window; ``Retry-After`` leads to its end."""
        deprecation = call.deprecation
        if deprecation is None or not deprecation.brownouts:
            return
        if call.variant != "pinned" or call.label is not None:
            return
        now = self._now()
        for window in deprecation.brownouts:
            if window.start <= now < window.end:
                # Rounded up: a client that comes back too early would be refused again.
                raise TollwayError(
                    Code.BROWNOUT,
                    f"version {call.version} of '{call.model}' is deprecated and refuses calls for "
                    f"a while, as it will at its end: {towards_successor(deprecation)}",
                    retry_after_s=ceil(window.end - now),
                )
