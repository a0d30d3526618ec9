"""Compare a graph with the original, row by row, and tell near-ties from real differences."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tollway.conversion.outputs import MAIN_OUTPUT, decode_predictions
from tollway.conversion.reference import Answers
from tollway.conversion.types import Label, Parity, Task

Array = npt.NDArray[Any]

ATOL = 1e-4
"""Largest difference that counts as equal: of a probability, and of any other number as a share of
the largest magnitude in its output column."""
RTOL = 1e-4
"""And on top of it, as a share of the number itself."""
NEAR_TIE = 1e-4
"""A label may differ where the original's two best scores are closer than this share."""


@dataclass(frozen=True)
class Tolerance:
    """What counts as equal."""

    atol: float = ATOL
    rtol: float = RTOL


@dataclass
class Verdict:
    """Outcome of one comparison; ``row`` is the first row that differs for real."""

    rows: int
    max_abs_error: float = 0.0
    label_mismatches: int = 0
    near_ties: int = 0
    wrong: list[int] = field(default_factory=list)
    reason: str = ""
    expected: object = None
    got: object = None

    @property
    def holds(self) -> bool:
        """Whether no row differs for real."""
        return not self.wrong

    def parity(self, tolerance: Tolerance) -> Parity:
        """The verdict as it is stored with the version."""
        return Parity(
            rows=self.rows,
            max_abs_error=self.max_abs_error,
            tolerance=tolerance.atol,
            label_mismatches=self.label_mismatches,
            near_ties=self.near_ties,
        )


def compare(
    expected: Answers,
    outputs: dict[str, Array],
    task: Task,
    labels: list[Label],
    tolerance: Tolerance,
) -> Verdict:
    """Judge the graph's ``outputs`` against the original's answers.

    Numbers must satisfy ``|got - expected| <= atol * scale + rtol * |expected|``, scale being 1 for
    probabilities and the column's largest magnitude otherwise.
    """
    verdict = Verdict(rows=len(expected.main))
    main = outputs.get(MAIN_OUTPUT[task])
    if main is None:
        raise ValueError(f"the graph has no output {MAIN_OUTPUT[task]!r}")
    got = decode_predictions(outputs, task, labels)
    if got.shape != expected.main.shape:
        _wrong(verdict, [0], f"shape {got.shape} instead of {expected.main.shape}", None, None)
        return verdict
    if task in {"regression", "transform"}:
        scale = column_scale(expected.main)
        _numbers(verdict, MAIN_OUTPUT[task], expected.main, got, scale, tolerance)
        return verdict
    pairs = (("probabilities", expected.probabilities), ("scores", expected.scores))
    for name, wanted in pairs:
        if wanted is None or name not in outputs:
            continue
        scale = np.asarray(1.0) if name == "probabilities" else column_scale(wanted)
        _numbers(verdict, name, wanted, outputs[name], np.maximum(scale, 1.0), tolerance)
    _labels(verdict, expected, got)
    return verdict


def column_scale(values: Array) -> Array:
    """Largest finite magnitude of each output column, 1 where there is none."""
    matrix = np.asarray(values, dtype=np.float64)
    finite = np.where(np.isfinite(matrix), np.abs(matrix), 0.0)
    top = finite.max(axis=0) if len(finite) else np.asarray(1.0)
    return np.asarray(np.where(top > 0, top, 1.0))


def _numbers(
    verdict: Verdict, name: str, expected: Array, got: Array, scale: Array, tolerance: Tolerance
) -> None:
    wanted = np.asarray(expected, dtype=np.float64)
    if got.shape != wanted.shape:
        text = f"{name} of shape {got.shape} instead of {wanted.shape}"
        _wrong(verdict, [0], text, None, None)
        return
    given = np.asarray(got, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        error = np.abs(given - wanted)
    same = (given == wanted) | (np.isnan(given) & np.isnan(wanted))
    allowed = tolerance.atol * scale + tolerance.rtol * np.abs(wanted)
    finite = np.isfinite(error) & np.isfinite(allowed)
    fine = same | (finite & (error <= allowed))
    if finite.any():
        # Scores have no unit: SGD's reach 1e10, where a difference of 1 is nothing.
        told = error / scale if name == "scores" else error
        verdict.max_abs_error = max(verdict.max_abs_error, float(told[finite].max()))
    bad = ~fine if fine.ndim == 1 else ~fine.all(axis=tuple(range(1, fine.ndim)))
    rows = np.flatnonzero(bad).tolist()
    if rows:
        worst = rows[0]
        _wrong(verdict, rows, f"{name} differ", wanted[worst].tolist(), given[worst].tolist())


def _labels(verdict: Verdict, expected: Answers, got: Array) -> None:
    different = np.flatnonzero(~_equal(expected.main, got))
    if not different.size:
        return
    margin = expected.margin
    if margin is None:
        near = np.zeros(len(different), dtype=bool)
    else:
        top = 1.0 if expected.probabilities is not None else _magnitude(expected.scores)
        near = margin[different] <= NEAR_TIE * max(1.0, top)
    verdict.near_ties += int(near.sum())
    real = different[~near].tolist()
    verdict.label_mismatches += len(real)
    if real:
        first = real[0]
        _wrong(
            verdict, real, "labels differ",
            expected.main[first : first + 1].tolist()[0], got[first : first + 1].tolist()[0],
        )  # fmt: skip


def _magnitude(scores: Array | None) -> float:
    if scores is None or not scores.size:
        return 1.0
    finite = scores[np.isfinite(scores)]
    return float(np.abs(finite).max()) if finite.size else 1.0


def _equal(expected: Array, got: Array) -> npt.NDArray[np.bool_]:
    if expected.dtype.kind in "OUS" or got.dtype.kind in "OUS":
        pairs = zip(expected.tolist(), got.tolist(), strict=True)
        return np.asarray([str(e) == str(g) for e, g in pairs], dtype=bool)
    return np.asarray(expected == got)


def _wrong(verdict: Verdict, rows: list[int], reason: str, expected: object, got: object) -> None:
    if not verdict.wrong:
        verdict.reason, verdict.expected, verdict.got = reason, expected, got
        verdict.wrong = rows
    else:
        verdict.wrong = list(dict.fromkeys([*verdict.wrong, *rows]))
