"""The batch-invariance sentinel: are answers from shared runs what everybody would get alone?

Warm-up asks that of made-up rows; real ones may tell another story. A sample of the requests that
shared a run is run again alone once the answers have left, within a bounded share of the engine's
time, and compared. Kernels for one row and for many round differently, so numbers may differ by a
tolerance of their type; NaN equals NaN.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from protocol.errors import TollwayError
from serving.batcher import Runner
from serving.call import Call
from serving.tensors import Array, widened

SHARE: Final = 0.01
"""Of the time of shared runs, what looking again may take."""
SAMPLE_ROWS: Final = 16
"""Rows of a request that are run again; the first shared run is always looked at."""
BELIEVED_AFTER: Final = 2
"""Labels that differ beside scores that agree may be a tie that rounding decided; twice is no
accident."""
FORGET_AFTER: Final = 1000
"""Checks after which one such tie no longer counts."""
TOLERANCES: Final[Mapping[str, tuple[float, float]]] = {
    "FP16": (1e-2, 1e-3),
    "BF16": (5e-2, 1e-2),
    "FP32": (1e-3, 1e-4),
    "FP64": (1e-4, 1e-6),
}
"""Relative and absolute tolerance of each datatype; all others must be equal. FP64 is not narrower
because graphs often compute in FP32 and cast at the end."""


class Output(NamedTuple):
    """What of an output's description comparing needs."""

    name: str
    datatype: str


class _Sample(NamedTuple):
    feeds: list[Array | None]
    arrays: list[Array | None]
    rows: int


class Sentinel:
    """Keeps a sample of shared runs and compares it. One at a time; never two threads at once."""

    def __init__(
        self,
        runner: Runner,
        outputs: Sequence[Output],
        clock_ns: Callable[[], int],
        choose: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        """``choose(n)`` gives the number of the request to look at, below ``n``."""
        self._runner = runner
        self._outputs = outputs
        self._clock_ns = clock_ns
        self._choose = choose
        self._sample: _Sample | None = None
        self._budget_ns = 0.0
        self._doubts = self._since_doubt = 0
        self.rows = 0
        """Rows that were run again."""
        self.differences = 0
        self.spent_ns = 0

    @property
    def rows_due(self) -> int:
        """Rows that wait to be run again; 0: none."""
        return self._sample.rows if self._sample is not None else 0

    def watch(self, group: Sequence[Call]) -> None:
        """``group`` has been answered; keep a sample of it if it shared a run and there is time."""
        results = group[0].results
        if results is None or not results.shared:
            return
        self._budget_ns += results.run_ns * SHARE
        if self._budget_ns <= 0 or self._sample is not None:
            return
        call = group[self._choose(len(group))]
        if call.results is not results or not call.rows:
            return  # it was run alone after all, or has no rows
        rows = min(call.rows, SAMPLE_ROWS)
        # Copies: a slice would hold the whole run's arrays, and the request's body, until then.
        self._sample = _Sample(
            [None if feed is None else feed[:rows].copy() for feed in call.feeds],
            [
                None if array is None else array[call.start : call.start + rows].copy()
                for array in results.arrays
            ],
            rows,
        )

    def check(self) -> str:
        """Run the sample alone and compare. Returns what differs; empty: nothing."""
        sample, self._sample = self._sample, None
        if sample is None:
            return ""
        begun = self._clock_ns()
        try:
            difference = self._differs(sample)
        finally:
            spent = self._clock_ns() - begun
            self._budget_ns -= spent
            self.spent_ns += spent
            self.rows += sample.rows
        if difference:
            self.differences += 1
        return difference

    def _differs(self, sample: _Sample) -> str:
        try:
            alone = self._runner.run(sample.feeds)
        except TollwayError:
            return "rows that were answered in a shared run fail alone"
        self._since_doubt += 1
        if self._since_doubt > FORGET_AFTER:
            self._doubts = 0
        scored, discrete = False, ""
        for output, together, single in zip(self._outputs, sample.arrays, alone, strict=True):
            difference = compare(output, together, single)
            if output.datatype not in TOLERANCES:
                discrete = discrete or difference
            elif difference:
                return difference
            else:
                scored = True
        if discrete and scored:
            self._doubts += 1
            self._since_doubt = 0
            if self._doubts < BELIEVED_AFTER:
                return ""
        return discrete


def compare(output: Output, together: Array | None, alone: Array | None) -> str:
    """How an output differs beyond the tolerance of its type; empty: it does not.

    Says nothing of the values: they are somebody's predictions.
    """
    if together is None or alone is None:
        # An optional output is there or not, whoever comes together.
        return f"output {output.name!r} is there only sometimes" * (together is not alone)
    if together.shape != alone.shape:
        return f"output {output.name!r} has another shape"
    if output.datatype not in TOLERANCES:
        unequal = int(np.count_nonzero(together != alone))
        return f"output {output.name!r} differs in {unequal} of {alone.size} values" * (unequal > 0)
    if output.datatype == "BF16":
        together, alone = widened(together), widened(alone)
    together, alone = together.astype(np.float64), alone.astype(np.float64)
    relative, absolute = TOLERANCES[output.datatype]
    with np.errstate(all="ignore"):
        same = np.isclose(together, alone, rtol=relative, atol=absolute, equal_nan=True)
        if same.all():
            return ""
        far = float(np.nanmax(np.abs(together - alone)[~same], initial=0.0))
    return f"output {output.name!r} differs by up to {far:.3g}"
