"""Mergeable histograms of durations, with logarithmic buckets over whole numbers.

Values below :data:`EXACT` have a bucket each. From there on every power of two is cut into
:data:`PARTS` buckets of equal width, as HdrHistogram does, so that the width of a bucket is at most
``1 / PARTS`` of its lower edge. A quantile is answered with the middle of its bucket: its relative
error is at most :data:`RELATIVE_ERROR` (1.5625 %). Adding counts bucket by bucket is exactly the
histogram of the union, whatever the order, so roll-ups of any two spans can be merged.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

PARTS: Final = 32
_PART_BITS: Final = 5
EXACT: Final = 2 * PARTS
"""Whole numbers below this are kept exactly."""
RELATIVE_ERROR: Final = 1 / (2 * PARTS)

Histogram = dict[int, int]
"""Bucket index -> count. Only buckets that hold something are there."""

_decoder = msgspec.msgpack.Decoder(dict[int, int])
_encoder = msgspec.msgpack.Encoder()


def bucket(value: int) -> int:
    """Index of the bucket that ``value`` (not negative) falls into; grows with the value."""
    if value < EXACT:
        return value
    shift = value.bit_length() - _PART_BITS - 1
    return (shift << _PART_BITS) + (value >> shift)


def bounds(index: int) -> tuple[int, int]:
    """Lowest and highest value of the bucket ``index``."""
    if index < EXACT:
        return index, index
    shift = (index >> _PART_BITS) - 1
    low = (index - (shift << _PART_BITS)) << shift
    return low, low + (1 << shift) - 1


def of(values: Iterable[int]) -> Histogram:
    """The histogram of ``values``."""
    histogram: Histogram = {}
    for value in values:
        index = bucket(value)
        histogram[index] = histogram.get(index, 0) + 1
    return histogram


def merge(into: Histogram, other: Mapping[int, int]) -> None:
    """Add ``other`` to ``into``."""
    for index, count in other.items():
        into[index] = into.get(index, 0) + count


def quantile(histogram: Mapping[int, int], share: float) -> float | None:
    """The value below or at which ``share`` (0 to 1) of the values lie, by nearest rank.

    None when the histogram is empty.
    """
    total = sum(histogram.values())
    if total == 0:
        return None
    rank = max(1, -int(-share * total // 1))
    seen = 0
    for index in sorted(histogram):
        seen += histogram[index]
        if seen >= rank:
            low, high = bounds(index)
            return (low + high) / 2
    raise AssertionError("the counts add up to the total")


def encode(histogram: Histogram) -> bytes:
    """The histogram as stored: a MessagePack map."""
    return _encoder.encode(histogram)


def decode(data: bytes) -> Histogram:
    """The histogram that :func:`encode` wrote."""
    return _decoder.decode(data)
