"""When a delivery that failed is tried again."""

from collections.abc import Callable
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 3600

WAITS_S: Final = (
    5,
    30,
    2 * _MINUTE,
    10 * _MINUTE,
    30 * _MINUTE,
    _HOUR,
    2 * _HOUR,
    4 * _HOUR,
    8 * _HOUR,
    8 * _HOUR,
)
"""Seconds after the first, second ... failed attempt: eleven attempts in about 24 hours."""
JITTER: Final = 0.1
"""Waits are up to this share shorter or longer, so that a receiver is not hit all at once."""
LONGEST_WISH_S: Final = _HOUR
"""A receiver's ``Retry-After`` is honoured up to this."""


def next_wait_s(
    failures: int, random: Callable[[], float], retry_after_s: float | None = None
) -> float | None:
    """How long to wait after ``failures`` failed attempts; None: it was the last.

    ``random()`` is uniform in [0, 1).
    """
    if failures > len(WAITS_S):
        return None
    wait = WAITS_S[failures - 1] * (1 + JITTER * (2 * random() - 1))
    return max(wait, min(retry_after_s or 0.0, LONGEST_WISH_S))
