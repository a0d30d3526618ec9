"""Mergeable quantile sketches of magnitudes, with logarithmic buckets (DDSketch, VLDB 2019).

A bucket's upper edge is :data:`GAMMA` times its lower one, so that its representative is at most
:data:`RELATIVE_ERROR` away from any value in it, whatever the scale of the values. Below
:data:`SMALLEST` everything counts as 0. Adding counts bucket by bucket is exactly the sketch of the
union, in any order and over any split.
"""

from collections.abc import Mapping
from math import floor, log
from typing import Final

RELATIVE_ERROR: Final = 0.01
GAMMA: Final = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
SMALLEST: Final = 1e-9
LOG_GAMMA: Final = log(GAMMA)
LOG_SMALLEST: Final = log(SMALLEST)
MOST: Final = 2800
"""The last bucket: it begins above 1e15, and also has what is larger."""

Sketch = dict[int, int]
"""Bucket -> count, 0 for the values that count as 0. Only buckets that hold something are there."""


def bucket(value: float) -> int:
    """The bucket of a magnitude (not negative, not NaN; infinity is in the last)."""
    if value < SMALLEST:
        return 0
    return 1 + floor(min((log(value) - LOG_SMALLEST) / LOG_GAMMA, MOST - 1))


def representative(index: int) -> float:
    """The value that stands for a bucket's."""
    if index == 0:
        return 0.0
    lower = SMALLEST * GAMMA ** (index - 1)
    return float(2 * lower * GAMMA / (1 + GAMMA))


def merge(into: Sketch, other: Mapping[int, int]) -> None:
    """Add ``other`` to ``into``."""
    for index, count in other.items():
        into[index] = into.get(index, 0) + count


def quantile(sketch: Mapping[int, int], share: float) -> float | None:
    """The value below or at which ``share`` (0 to 1) of the values lie, by nearest rank; None when
    there are none."""
    total = sum(sketch.values())
    if not total:
        return None
    rank = max(1, -floor(-share * total))
    seen = 0
    for index in sorted(sketch):
        seen += sketch[index]
        if seen >= rank:
            return representative(index)
    raise AssertionError("the counts add up to the total")
