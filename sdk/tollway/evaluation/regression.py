"""Metrics of regressors, as scikit-learn defines them, over many resamples at once."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tollway.evaluation.bootstrap import Values

Array = npt.NDArray[Any]

NAMES: Final = ("rmse", "mae", "r2", "median_ae", "mape")


class Errors:
    """Estimates against the truth."""

    def __init__(self, truth: Array, predicted: Array, wanted: Sequence[str]) -> None:
        error = np.abs(predicted - truth)
        # About the mean, so that squares do not cancel what they are summed for.
        centred = truth - truth.mean()
        self._wanted = wanted
        self._columns = np.stack([error**2, error, centred, centred**2], axis=1)
        self._relative: Array | None = None
        if "mape" in wanted and (truth != 0).all():
            self._relative = error / np.abs(truth)
        self._order = np.argsort(error, kind="stable")
        self._ordered = error[self._order]

    def metrics(self, weights: Array) -> Values:
        """The metrics under whole weights of the rows."""
        rows = weights.sum(axis=1)
        squares, errors, centred, spread = (weights @ self._columns).T
        total = spread - centred**2 / rows
        with np.errstate(invalid="ignore", divide="ignore"):
            found = {
                "rmse": np.sqrt(squares / rows),
                "mae": errors / rows,
                "r2": np.where(total > 0, 1 - squares / total, np.nan),
            }
        if "median_ae" in self._wanted:
            found["median_ae"] = self._median(weights, rows)
        if self._relative is not None:
            found["mape"] = weights @ self._relative / rows
        return {name: values for name, values in found.items() if name in self._wanted}

    def _median(self, weights: Array, rows: Array) -> Array:
        """Of the absolute errors: the mean of the two in the middle, which may be one."""
        reached = np.cumsum(weights[:, self._order], axis=1)
        lower = np.argmax(reached > ((rows - 1) // 2)[:, None], axis=1)
        upper = np.argmax(reached > (rows // 2)[:, None], axis=1)
        medians: Array = (self._ordered[lower] + self._ordered[upper]) / 2
        return medians
