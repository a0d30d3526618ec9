"""The ends of admitted calls, kept until Redis has confirmed them.

A connection that breaks leaves it open whether what was sent last was counted. So each end has a
number, and the script remembers the highest that it has counted of a gateway and a subscription: an
end that is sent again counts once. That needs the numbers to reach Redis in their order, which one
connection sees to, and which is why what Redis has not run at all gets a new number.
"""

from itertools import islice
from typing import NamedTuple

from policies.stores.base import Used, Verdict

KEPT = 10_000
"""Ends that are kept. Beyond, the oldest are given up."""


class End(NamedTuple):
    """Which call ended, and what it used."""

    verdict: Verdict
    used: Used


class Outbox:
    """Ends by number, oldest first."""

    def __init__(self) -> None:
        self._kept: dict[int, End] = {}
        self._latest = 0
        self.lost = 0
        """Ends that were given up: what these calls used is not counted."""

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, end: End) -> int:
        """Keep an end; its number is higher than every one before."""
        if len(self._kept) >= KEPT:
            self.give_up(next(iter(self._kept)))
        self._latest += 1
        self._kept[self._latest] = end
        return self._latest

    def confirmed(self, number: int) -> None:
        """Redis has counted this one."""
        self._kept.pop(number, None)

    def give_up(self, number: int) -> None:
        """Redis will not count this one."""
        if self._kept.pop(number, None) is not None:
            self.lost += 1

    def renumbered(self, number: int) -> tuple[int, End] | None:
        """A new number for an end that Redis has surely not counted; None if it is not kept."""
        end = self._kept.pop(number, None)
        return None if end is None else (self.add(end), end)

    def unconfirmed(self, at_most: int) -> list[tuple[int, End]]:
        """What has to be sent again, in its order: the first of it."""
        return list(islice(self._kept.items(), at_most))
