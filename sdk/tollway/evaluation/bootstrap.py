"""Confidence intervals by the percentile bootstrap (Efron, 1979), many resamples at once.

Rows are drawn with replacement, as many as there are. How often each row was drawn is its weight,
and metrics are functions of weights: a matrix of them, a line a resample, is one product away from
the sums that a metric is made of. Metrics that depend on the confusion matrix alone need no rows:
the counts of its cells in a resample are multinomial, which is the same distribution.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tollway.evaluation.evidence import Measured

Array = npt.NDArray[Any]
Values = dict[str, Array]
"""Metric -> its value in each resample; NaN where it is not defined."""

CONFIDENCE: Final = 0.95
BUDGET: Final = 50_000_000
"""Drawn rows of all resamples together."""
FEWEST: Final = 100
_CHUNK: Final = 2_000_000
_DEFINED: Final = 0.9
"""Share of the resamples in which a metric must be defined for an interval."""


def affordable(rows: int, wanted: int) -> int:
    """How many resamples of so many rows are made when ``wanted`` are asked for: all, or as many as
    the budget allows. Of millions of rows few are needed, because the interval is narrow."""
    return min(wanted, max(FEWEST, BUDGET // max(rows, 1)))


def of_weights(
    metrics: Callable[[Array], Values], rows: int, resamples: int, rng: np.random.Generator
) -> dict[str, Measured]:
    """Metrics of rows; ``metrics`` takes weights, a line a resample."""
    point = metrics(np.ones((1, rows)))

    def drawn() -> Iterator[Values]:
        for count in _chunks(resamples, rows):
            places = rng.integers(0, rows, (count, rows))
            places += (np.arange(count) * rows)[:, None]
            weights = np.bincount(places.reshape(-1), minlength=count * rows)
            yield metrics(weights.reshape(count, rows).astype(np.float64))

    return _measured(point, list(drawn()))


def of_cells(
    metrics: Callable[[Array], Values], cells: Array, resamples: int, rng: np.random.Generator
) -> dict[str, Measured]:
    """Metrics of how many rows are in each cell; ``metrics`` takes counts, a line a resample."""
    rows = int(cells.sum())
    point = metrics(cells[None, :].astype(np.float64))

    def drawn() -> Iterator[Values]:
        for count in _chunks(resamples, len(cells)):
            yield metrics(rng.multinomial(rows, cells / rows, size=count).astype(np.float64))

    return _measured(point, list(drawn()))


def _chunks(resamples: int, width: int) -> Iterator[int]:
    most = max(1, _CHUNK // max(width, 1))
    while resamples > 0:
        yield min(most, resamples)
        resamples -= most


def _measured(point: Values, drawn: list[Values]) -> dict[str, Measured]:
    tail = (1 - CONFIDENCE) / 2
    found = {}
    for name, values in point.items():
        value = float(values[0])
        if not np.isfinite(value):
            continue  # a metric that is not defined on these rows
        sample = np.concatenate([part[name] for part in drawn]) if drawn else np.empty(0)
        sample = sample[np.isfinite(sample)]
        total = sum(len(part[name]) for part in drawn)
        low = high = None
        if total and len(sample) >= _DEFINED * total:
            low, high = (float(q) for q in np.quantile(sample, (tail, 1 - tail)))
        found[name] = Measured(value=value, low=low, high=high)
    return found
