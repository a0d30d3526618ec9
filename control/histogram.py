"""Mergeable histograms of durations, with logarithmic buckets over whole numbers.

Values below :data:`EXACT` have a bucket each. From there on every power of two is cut into
:data:`PARTS` buckets of equal width, as HdrHistogram does, so that the width of a bucket is at most
``1 / PARTS`` of its lower edge. A quantile is answered with the middle of its bucket: its relative
error is at most :data:`RELATIVE_ERROR` (1.5625 %). Adding counts bucket by bucket is exactly the
histogram of the union, whatever the order, so roll-ups of any two spans can be merged.

Stored, a histogram is a run of entries of six bytes, a bucket's index and a count. The same bucket
may stand in several entries, so that stored histograms merge by standing one behind the other:
a database can join them, and :func:`quantiles` adds them up.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

PARTS: Final = 32
_PART_BITS: Final = 5
EXACT: Final = 2 * PARTS
"""Whole numbers below this are kept exactly."""
RELATIVE_ERROR: Final = 1 / (2 * PARTS)

Histogram = dict[int, int]
"""Bucket index -> count. Only buckets that hold something are there."""

_ENTRY: Final = struct.Struct("<HI")
_MOST: Final = 2**32 - 1
_CELLS: Final = 2_000_000
"""Counts that are in memory at once, 16 MB."""
_MANY: Final = 3_000
"""Bytes from which on NumPy is the faster."""


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


def quantiles(stored: Sequence[bytes], shares: Sequence[float]) -> list[list[float | None]]:
    """For each of ``stored`` its quantiles: each is any number of stored histograms, one behind the
    other."""
    if sum(map(len, stored)) >= _MANY:
        return _quantiles_of_many(stored, shares)
    return [[quantile(merged, share) for share in shares] for merged in map(decode, stored)]


def encode(histogram: Mapping[int, int]) -> bytes:
    """The histogram as stored."""
    flat: list[int] = []
    for index, count in histogram.items():
        rest = count
        while rest > _MOST:  # a count that an entry cannot hold stands in several
            flat += (index, _MOST)
            rest -= _MOST
        flat += (index, rest)
    return _packer(len(flat) // 2).pack(*flat)


def decode(data: bytes) -> Histogram:
    """The histogram that :func:`encode` wrote, or several of them one behind the other."""
    histogram: Histogram = {}
    for index, count in _ENTRY.iter_unpack(data):
        histogram[index] = histogram.get(index, 0) + count
    return histogram


def _quantiles_of_many(
    stored: Sequence[bytes], shares: Sequence[float]
) -> list[list[float | None]]:
    """All at once: a table of counts by histogram and bucket, and ranks in its running sums."""
    # 20 MB that only a process with much usage needs.
    import numpy as np  # noqa: PLC0415

    entries = np.frombuffer(b"".join(stored), dtype=np.dtype([("index", "<u2"), ("count", "<u4")]))
    lowest = int(entries["index"].min())
    width = int(entries["index"].max()) - lowest + 1
    step = max(1, _CELLS // width)
    found: list[list[float | None]] = []
    position = 0
    for start in range(0, len(stored), step):
        sizes = np.array([len(data) // _ENTRY.size for data in stored[start : start + step]])
        part = entries[position : position + int(sizes.sum())]
        position += len(part)
        place = np.repeat(np.arange(len(sizes)) * width - lowest, sizes) + part["index"]
        # Weights are doubles: exact up to 2^53 values in a bucket.
        table = np.bincount(place, weights=part["count"], minlength=len(sizes) * width)
        running = table.reshape(len(sizes), width).cumsum(axis=1)
        totals = running[:, -1]
        columns = []
        for share in shares:
            ranks = np.maximum(1, -np.floor(-share * totals))
            columns.append(((running < ranks[:, None]).sum(axis=1) + lowest).tolist())
        found += [
            [sum(bounds(index)) / 2 if total else None for index in row]
            for row, total in zip(zip(*columns, strict=True), totals.tolist(), strict=True)
        ]
    return found


@lru_cache(maxsize=512)
def _packer(entries: int) -> struct.Struct:
    return struct.Struct("<" + "HI" * entries)
