"""What a run costs, ``a + b * rows``, learnt by exponentially weighted least squares; and whether
requests should share runs.

Where merging is off, a group is merged now and then to learn whether it would pay by now; where it
is on, the rows that the sentinel runs alone are the other end of the line.
"""

from typing import Final

DECAY: Final = 0.98
"""Weight that a sample keeps per later sample: the model follows the last 50 or so."""
OUTLIER: Final = 8.0
"""A sample counts as at most this many times its prediction: the machine stalls now and then."""
SURE_AFTER: Final = 8
PAYS_ABOVE: Final = 0.10
PAYS_AGAIN_ABOVE: Final = 0.15
"""Merging pays when a run's fixed part is this share of a typical request's run alone. Two
thresholds, so that noise does not switch it to and fro."""
STAYS_FOR: Final = 32
"""Runs that a decision stands for at least."""
PROBE_EVERY: Final = 64
"""While merging is off, every so many groups that could be merged are, to learn whether it pays."""


class Cost:
    """Predicts run time and decides whether merging pays. Times in seconds."""

    def __init__(self) -> None:
        self.fixed_s = 0.0
        self.row_s = 0.0
        self.pays = True
        self.switches = 0
        """How often the decision has changed."""
        self._samples = self._decided = 0
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self._request_rows = 1.0
        self._skipped = 0

    def predict(self, rows: int) -> float:
        """Seconds that a run of ``rows`` will take; 0 before anything was measured."""
        return self.fixed_s + self.row_s * rows

    def observe(self, rows: int, requests: int, seconds: float) -> None:
        """Learn from a run of ``rows`` rows that ``requests`` requests shared."""
        if self._samples >= SURE_AFTER:
            seconds = min(seconds, OUTLIER * self.predict(rows))
        self._samples += 1
        x, y = float(rows), seconds
        self._weight = self._weight * DECAY + 1.0
        self._x = self._x * DECAY + x
        self._y = self._y * DECAY + y
        self._xx = self._xx * DECAY + x * x
        self._xy = self._xy * DECAY + x * y
        self._request_rows += 0.05 * (rows / requests - self._request_rows)
        mean_x, mean_y = self._x / self._weight, self._y / self._weight
        variance = self._xx / self._weight - mean_x * mean_x
        if variance > 0.01 * mean_x * mean_x:
            slope = (self._xy / self._weight - mean_x * mean_y) / variance
            # Neither part can be negative: a run of no rows costs at least nothing.
            self.row_s = min(max(slope, 0.0), mean_y / mean_x)
        else:
            # All runs alike say nothing about the slope: keep it, as far as the mean allows.
            self.row_s = min(self.row_s, mean_y / mean_x)
        self.fixed_s = max(mean_y - self.row_s * mean_x, 0.0)
        if self._samples >= SURE_AFTER:
            self._decide()

    @property
    def saves(self) -> float:
        """The fixed part's share of a typical request's run alone: what merging can save of it."""
        alone = self.predict(1) + self.row_s * (self._request_rows - 1.0)
        return self.fixed_s / alone if alone > 0 else 0.0

    @property
    def reason(self) -> str:
        """Why merging is on or off, in figures."""
        if self._samples < SURE_AFTER:
            return "runs have not been measured yet"
        return (
            f"a run costs {self.fixed_s * 1e6:.0f} us and {self.row_s * 1e6:.0f} us a row: "
            f"merging {'saves' if self.pays else 'would save'} {self.saves:.0%} of a request's run"
        )

    def _decide(self) -> None:
        if self._samples - self._decided < STAYS_FOR and self._decided:
            return
        pays = self.saves > (PAYS_ABOVE if self.pays else PAYS_AGAIN_ABOVE)
        if pays != self.pays:
            self.pays = pays
            self.switches += 1
            self._decided = self._samples
            self._skipped = 0

    def merge_now(self) -> bool:
        """Whether to merge the next group: where it pays, and now and then where it did not."""
        if self.pays:
            return True
        self._skipped += 1
        if self._skipped >= PROBE_EVERY:
            self._skipped = 0
            return True
        return False
