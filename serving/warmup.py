"""The first runs: touch every kernel, learn what runs cost, and see whether rows may share a run.

Sharing is allowed only when outputs follow the number of rows, and no row's answer depends on the
others: a graph that normalises by the batch's mean would mix up its callers.
"""

import time
from typing import Final

import numpy as np

from protocol.errors import TollwayError
from serving.batcher import Runner
from serving.cost import Cost
from serving.session import Session
from serving.signature import Signature
from serving.tensors import Array, TensorSpec

Feeds = list[Array | None]
MANY_ROWS: Final = 32
SLOW_S: Final = 0.05
"""A model slower than this on three rows is not timed on many: start-up would take too long."""
_STRINGS: Final = ("a", "0", "")
_CHECKED_ROWS: Final = (1, 2, 3)


class Typical:
    """A model beside the first of its golden or made-up rows that it runs."""

    def __init__(self, session: Session, signature: Signature, golden: Feeds | None) -> None:
        self.session = session
        self._sources = _sources(signature, golden)

    def once(self) -> bool:
        """Run them; False when there are none that run."""
        while self._sources:
            if _try(self.session, self._sources[0]) is not None:
                return True
            del self._sources[0]
        return False


def _sources(signature: Signature, golden: Feeds | None) -> list[Feeds]:
    made_up = [_made_up(signature, text) for text in _STRINGS]
    return made_up if golden is None else [golden, *made_up]


def warm(
    runner: Runner, signature: Signature, cost: Cost, golden: Feeds | None
) -> tuple[bool, str]:
    """Run made-up or golden rows. Returns whether rows may share a run, and why not."""
    sources = _sources(signature, golden)
    if not signature.dynamic:
        for feeds in sources:
            if _try(runner, feeds) is not None:
                _time(runner, feeds, 1, cost)
                break
        return False, "a tensor's first dimension is fixed"
    for feeds in sources:
        if signature.key(feeds) is None or _try(runner, _rows(feeds, 1)) is None:
            continue
        why_not = _check(runner, feeds)
        three = _time(runner, _rows(feeds, 3), 3, cost)
        if three < SLOW_S:
            for rows in (1, MANY_ROWS, 1, MANY_ROWS, 3, 1, MANY_ROWS, 3):
                _time(runner, _rows(feeds, rows), rows, cost)
        return not why_not, why_not
    return False, "no warm-up run succeeded, so it is not known whether outputs follow the rows"


def _check(runner: Runner, feeds: Feeds) -> str:
    """Why rows may not share a run; empty when they may."""
    alone: list[list[Array]] = []
    for row in range(max(_CHECKED_ROWS)):
        arrays = _whole(runner, _rows(feeds, 1, row))
        if arrays is None:
            return "a warm-up run failed"
        alone.append(arrays)
    for rows in _CHECKED_ROWS:
        together = _whole(runner, _rows(feeds, rows))
        if together is None:
            return "a warm-up run failed"
        for output, array in enumerate(together):
            if array.ndim == 0 or array.shape[0] != rows:
                return "an output's first dimension does not follow the input's"
            single = [alone[row][output] for row in range(rows)]
            if any(part.shape != array[:1].shape for part in single):
                return "an output's other dimensions depend on the rows"
            if not _same(array, np.concatenate(single)):
                return "a row's answer depends on the other rows"
    return ""


def _same(one: Array, other: Array) -> bool:
    if one.dtype.kind == "f":
        # Kernels for one row and for many may round differently; mixing rows differs by far more.
        return bool(np.allclose(one, other, rtol=1e-3, atol=1e-4, equal_nan=True))
    return bool((one == other).all())


def _whole(runner: Runner, feeds: Feeds) -> list[Array] | None:
    """Every output; None when the run fails or leaves one out."""
    arrays = _try(runner, feeds) or []
    given = [array for array in arrays if array is not None]
    return given if given and len(given) == len(arrays) else None


def _try(runner: Runner, feeds: Feeds) -> list[Array | None] | None:
    try:
        return runner.run(feeds)
    except TollwayError:
        return None


def _time(runner: Runner, feeds: Feeds, rows: int, cost: Cost) -> float:
    begun = time.perf_counter()
    try:
        runner.run(feeds)
    except TollwayError:
        return SLOW_S
    seconds = time.perf_counter() - begun
    cost.observe(rows, 1, seconds)
    return seconds


def _rows(feeds: Feeds, count: int, start: int = 0) -> Feeds:
    """``count`` rows from ``start`` on, repeated from the beginning where there are too few."""
    return [
        None
        if feed is None
        else np.ascontiguousarray(feed[np.arange(start, start + count) % feed.shape[0]])
        for feed in feeds
    ]


def _made_up(signature: Signature, text: str) -> Feeds:
    return [None if spec.optional else _tensor(spec, text) for spec in signature.inputs]


def _tensor(spec: TensorSpec, text: str) -> Array:
    shape = [size if size >= 0 else 1 for size in spec.shape]
    if spec.dynamic:
        shape[0] = max(_CHECKED_ROWS)
    count = int(np.prod(shape, dtype=np.int64))
    if spec.datatype == "BYTES":
        return np.array([text] * count, object).reshape(shape)
    # Small, differing from row to row, and valid as an index or a category where those are meant.
    values = np.arange(count) % 7 % (2 if spec.dtype.kind in "iub" else 7)
    return (values * (0.25 if spec.dtype.kind == "f" else 1)).astype(spec.dtype).reshape(shape)
