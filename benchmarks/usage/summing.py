"""Roll-ups of requests, summed by NumPy: what ``control.store.usage_rollups`` would sum one by one.

``tests/benchmarks/test_usage.py`` holds that both come to the same rows.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from benchmarks.usage.traffic import (
    CALLERS,
    KEYS,
    MODELS,
    STATUSES,
    VARIANTS,
    VERSIONS,
    Caller,
    Requests,
    Whole,
    caller,
)
from control.histogram import EXACT, PARTS
from control.store.usage_rollups import SUMS
from control.usage_tiers import Cube, Dimension

Row = tuple[str | int | bytes, ...]
"""``minute``, the six dimensions, the sums, the histogram."""
BUCKETS: Final = 1024
"""More than a duration of half an hour needs."""
_ENTRY: Final = np.dtype([("index", "<u2"), ("count", "<u4")])
_SIZES: Final[tuple[tuple[Dimension, int], ...]] = (
    ("status", len(STATUSES)),
    ("variant", len(VARIANTS)),
    ("version", VERSIONS),
    ("model", MODELS),
    ("key", KEYS),
)
"""What a caller's number is made of, from its end on; the rest is the application."""
_NEUTRAL: Final[dict[Dimension, str | int]] = {
    **dict.fromkeys(("application", "key", "model", "variant"), ""),
    **dict.fromkeys(("version", "status"), 0),
}


def buckets(values: Whole) -> Whole:
    """:func:`control.histogram.bucket` of each value."""
    shift = np.maximum(np.frexp(values.astype(np.float64))[1] - PARTS.bit_length(), 0)
    shift = shift.astype(np.int64)
    return np.where(values < EXACT, values, (shift << (PARTS.bit_length() - 1)) + (values >> shift))


def roll_ups(requests: Requests, grain: int, cube: Cube | None = None) -> Iterator[Row]:
    """Rows by ``grain`` minutes, in the order of their keys; of all dimensions or of a summary."""
    minute = requests.minute // grain
    number = requests.caller if cube is None else _projected(requests.caller, cube)
    first = int(minute.min(initial=0))
    place = (minute - first) * CALLERS + number
    cell = place * BUCKETS + buckets(requests.total_us)
    order = np.argsort(cell)
    cell = cell[order]
    entry_at = _beginnings(cell)
    cells = cell[entry_at]
    group_at = _beginnings(cells // BUCKETS)
    places = cells[group_at] // BUCKETS
    entries = np.empty(len(cells), dtype=_ENTRY)
    entries["index"] = cells % BUCKETS
    entries["count"] = np.diff(entry_at, append=len(cell))
    data, size = entries.tobytes(), _ENTRY.itemsize
    edges = [*(group_at * size).tolist(), len(data)]
    figures = requests.figures
    starts = entry_at[group_at]
    sums = [np.add.reduceat(figures[name][order], starts).tolist() for name in SUMS]
    names = _Names(cube)
    times = ((places // CALLERS + first) * grain).tolist()
    callers = (places % CALLERS).tolist()
    for index, (time, one, *summed) in enumerate(zip(times, callers, *sums, strict=True)):
        yield (time, *names[one], *summed, data[edges[index] : edges[index + 1]])


def _beginnings(ordered: Whole) -> Whole:
    """Where each run of equal values begins."""
    changes = np.ones(len(ordered), dtype=bool)
    changes[1:] = ordered[1:] != ordered[:-1]
    return np.flatnonzero(changes)


class _Names(dict[int, tuple[str | int, ...]]):
    """Dimensions by a caller's number, as a summary has them."""

    def __init__(self, cube: Cube | None) -> None:
        super().__init__()
        self._kept = Caller.__struct_fields__ if cube is None else cube.dimensions

    def __missing__(self, number: int) -> tuple[str | int, ...]:
        found = caller(number)
        self[number] = tuple(
            getattr(found, name) if name in self._kept else _NEUTRAL[name]  # type: ignore[index]
            for name in Caller.__struct_fields__
        )
        return self[number]


def _projected(number: Whole, cube: Cube) -> Whole:
    """The numbers with 0 for what the summary does not tell apart."""
    rest, scale = number, 1
    found = np.zeros_like(number)
    for name, size in _SIZES:
        if name in cube.dimensions:
            found = found + rest % size * scale
        rest, scale = rest // size, scale * size
    return found + rest * scale if "application" in cube.dimensions else found
