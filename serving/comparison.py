"""How a version's outputs differ from another version's answer to the same request. Pure.

What is compared is what both gave. Text, truth values and the whole numbers of a classifier are
classes: a row flips where one of them is another. All else is numbers: of a row counts the largest
magnitude of a difference, and the difference of its score, which is

    the number itself        of an output with one number a row
    the second probability   of a classifier of two classes
    the answered class' own  of a classifier of more: the probability of the class that the other
                             version holds most probable
    the mean                 of any other output

in the first output of numbers. Numbers that are missing (or not finite: JSON writes both as null)
in both answers are equal. A classifier whose answer has no classes flips by its probabilities.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from protocol import sketch
from protocol.shadowing import Tally
from serving.answers import Answer
from serving.call import Results
from serving.signature import Signature
from serving.tensors import Array, TensorSpec, widened

LABEL_CHARACTERS: Final = 64
MAX_SHIFT: Final = 1e100
"""Larger shifts count as this: their squares must have a sum."""
_CLASSES: Final = frozenset({"classification", "clustering", "outlier"})
_TWO: Final = 2


class Compared(NamedTuple):
    """What was found, by row. None: nothing of that kind could be compared."""

    rows: int
    flips: dict[int, tuple[str, str]] | None
    """Row -> its class, and the shadow's."""
    differences: Array | None
    """Largest magnitudes; NaN where a number is missing in one answer alone."""
    shifts: Array | None
    """Differences of the scores; NaN likewise."""


class RequestMeans(NamedTuple):
    """What was found of one request over its rows: it counts once, however many they are. None:
    it has no rows of which that is known."""

    flip_share: float | None
    """Share of its rows that flipped."""
    shift: float | None
    """Mean of the shifts of its rows."""


class Comparison:
    """Compares for one model version, the shadow."""

    def __init__(self, signature: Signature) -> None:
        manifest = signature.manifest
        self._labels = [label_text(label) for label in manifest.labels]
        self._classifies = manifest.task == "classification"
        whole = manifest.task in _CLASSES
        self._classes: list[tuple[int, TensorSpec]] = []
        self._numbers: list[tuple[int, TensorSpec]] = []
        for index, spec in enumerate(signature.outputs):
            text = spec.datatype in {"BYTES", "BOOL"}
            integer = "INT" in spec.datatype
            one = all(size == 1 for size in spec.trailing)
            is_class = text or (integer and (whole or (manifest.task == "unknown" and one)))
            (self._classes if is_class else self._numbers).append((index, spec))

    def compare(
        self, answer: Answer, results: Results, start: int, stop: int, rows: int
    ) -> Compared | None:
        """The shadow's results for rows ``start`` to ``stop`` of a run, beside what was answered.
        None when there is nothing that both gave."""
        flips = self._flips(answer, results, start, stop, rows)
        differences: Array | None = None
        shifts: Array | None = None
        for index, spec in self._numbers:
            pair = _both(answer, results, index, spec, start, stop, rows, _as_numbers)
            if pair is None:
                continue
            answered, shadow = pair
            magnitudes = _magnitudes(answered, shadow)
            if differences is None:
                differences, shifts = magnitudes, self._shifts(answered, shadow)
                if flips is None and self._is_probabilities(answered):
                    flips = self._flips_by_probability(answered, shadow)
            else:  # a number that is missing on one side stays so: NaN wins
                differences = np.maximum(differences, magnitudes)
        if flips is None and differences is None:
            return None
        if differences is not None and shifts is not None:
            shifts = np.where(np.isnan(differences), np.nan, shifts)
        return Compared(rows, flips, differences, shifts)

    def _flips(
        self, answer: Answer, results: Results, start: int, stop: int, rows: int
    ) -> dict[int, tuple[str, str]] | None:
        found: dict[int, tuple[str, str]] | None = None
        for index, spec in self._classes:
            pair = _both(answer, results, index, spec, start, stop, rows, _as_objects)
            if pair is None:
                continue
            found = {} if found is None else found
            answered, shadow = pair
            for row in np.flatnonzero((answered != shadow).any(axis=1)).tolist():
                before, after = _texts(answered[row]), _texts(shadow[row])
                if before != after:  # 1 and "1" are one class
                    found.setdefault(row, (before, after))
        return found

    def _is_probabilities(self, numbers: Array) -> bool:
        return self._classifies and numbers.shape[1] == len(self._labels) >= _TWO

    def _flips_by_probability(self, answered: Array, shadow: Array) -> dict[int, tuple[str, str]]:
        before, after = _best(answered), _best(shadow)
        labels = self._labels
        return {
            row: (labels[before[row]], labels[after[row]])
            for row in np.flatnonzero(before != after).tolist()
        }

    def _shifts(self, answered: Array, shadow: Array) -> Array:
        width = answered.shape[1]
        with np.errstate(all="ignore"):
            moved = np.where(np.isfinite(answered) & np.isfinite(shadow), shadow - answered, 0.0)
        if self._classifies and width == _TWO:
            moved = moved[:, 1]
        elif self._classifies and width > _TWO:
            moved = moved[np.arange(len(moved)), _best(answered)]
        else:
            moved = moved[:, 0] if width == 1 else moved.mean(axis=1)
        return np.clip(moved, -MAX_SHIFT, MAX_SHIFT)


def _both(
    answer: Answer,
    results: Results,
    index: int,
    spec: TensorSpec,
    start: int,
    stop: int,
    rows: int,
    convert: Any,  # noqa: ANN401 -- one of the two below
) -> tuple[Array, Array] | None:
    """An output as both have it, a row each; None where one lacks it, or they are not alike."""
    given = answer.get(spec.name)
    if given is None or results.arrays[index] is None:
        return None
    try:
        answered = convert(given, rows)
        ours = results.array(index, start, stop)
        shadow = convert(widened(ours) if spec.datatype == "BF16" else ours, rows)
    except (ValueError, TypeError, OverflowError):
        return None
    same: bool = answered.shape == shadow.shape and answered.size > 0
    return (answered, shadow) if same else None


def _by_row(array: Array, rows: int) -> Array:
    if array.ndim == 0 and rows == 1:
        return array.reshape(1, 1)
    if array.ndim == 0 or array.shape[0] != rows or not rows:
        raise ValueError("no rows")
    return array.reshape(rows, -1)


def _as_numbers(array: Array, rows: int) -> Array:
    return _by_row(array, rows).astype(np.float64)


def _as_objects(array: Array, rows: int) -> Array:
    return _by_row(array, rows).astype(object)


def _magnitudes(answered: Array, shadow: Array) -> Array:
    """Of each row the largest; NaN where a number is missing in one of the two alone."""
    there, also = np.isfinite(answered), np.isfinite(shadow)
    with np.errstate(all="ignore"):
        magnitudes = np.where(there & also, np.abs(shadow - answered), 0.0)
    # Two finite numbers may be farther apart than the largest one.
    found: Array = np.minimum(magnitudes, np.finfo(np.float64).max).max(axis=1)
    return np.where((there != also).any(axis=1), np.nan, found)


def _best(probabilities: Array) -> Array:
    found: Array = np.where(np.isfinite(probabilities), probabilities, -np.inf).argmax(axis=1)
    return found


def _texts(row: Array) -> str:
    texts = [label_text(value) for value in row.tolist()]
    return texts[0] if len(texts) == 1 else ", ".join(texts)[:LABEL_CHARACTERS]


def label_text(value: object) -> str:
    """A class as reports name it: 1, 1.0 and "1" are one, cut to a bearable length."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    elif isinstance(value, bytes):
        value = value.decode(errors="replace")
    text = ("" if value is None else str(value))[:LABEL_CHARACTERS]
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def part_of(compared: Compared, start: int, stop: int) -> Compared:
    """What was found of some of the rows."""
    flips, differences, shifts = compared.flips, compared.differences, compared.shifts
    return Compared(
        stop - start,
        None
        if flips is None
        else {row - start: pair for row, pair in flips.items() if start <= row < stop},
        None if differences is None else differences[start:stop],
        None if shifts is None else shifts[start:stop],
    )


def means_of(compared: Compared, sizes: Sequence[int]) -> list[RequestMeans]:
    """What was found of each of the requests whose rows follow on one another in ``compared``.
    ``sizes``: how many rows each has."""
    if compared.rows == len(sizes) == 1:  # most are: a third of the time
        return [_mean_of_one(compared)]
    requests = np.repeat(np.arange(len(sizes)), sizes)
    nothing: list[float | None] = [None] * len(sizes)
    flip_shares = shifts = nothing
    if compared.flips is not None:
        flipped = np.zeros(compared.rows)
        flipped[list(compared.flips)] = 1
        flip_shares = _means(requests, flipped, len(sizes))
    if compared.differences is not None and compared.shifts is not None:
        there = ~np.isnan(compared.differences)
        shifts = _means(requests[there], compared.shifts[there], len(sizes))
    return [RequestMeans(*means) for means in zip(flip_shares, shifts, strict=True)]


def _mean_of_one(compared: Compared) -> RequestMeans:
    flips, shift = compared.flips, None
    if compared.differences is not None and compared.shifts is not None:
        missing = np.isnan(compared.differences[0])
        shift = None if missing else float(compared.shifts[0])
    return RequestMeans(None if flips is None else float(len(flips)), shift)


def _means(requests: Array, values: Array, count: int) -> list[float | None]:
    sums = np.bincount(requests, values, count).tolist()
    numbers = np.bincount(requests, minlength=count).tolist()
    return [total / number if number else None for total, number in zip(sums, numbers, strict=True)]


def count_request(into: Tally, means: RequestMeans) -> None:
    """Add a request that was compared to a tally."""
    into.requests += 1
    if means.flip_share is not None:
        into.labelled_requests += 1
        into.flip_shares += means.flip_share
    if means.shift is not None:
        into.measured_requests += 1
        into.request_shifts += means.shift
        into.request_shift_squares += means.shift * means.shift


def count(into: Tally, compared: Compared, inside: Array | None = None) -> None:
    """Add rows to a tally, not their requests; those that are ``inside``, where that is given."""
    into.rows += compared.rows if inside is None else int(inside.sum())
    if compared.flips is not None:
        _count_flips(into, compared.rows, compared.flips, inside)
    if compared.differences is not None and compared.shifts is not None:
        differences, shifts = compared.differences, compared.shifts
        if inside is not None:
            differences, shifts = differences[inside], shifts[inside]
        _count_numbers(into, differences, shifts)


def _count_flips(
    into: Tally, rows: int, flips: Mapping[int, tuple[str, str]], inside: Array | None
) -> None:
    into.labelled += rows if inside is None else int(inside.sum())
    for row, (before, after) in flips.items():
        if inside is None or inside[row]:
            into.flips += 1
            into.flip(before, after)


def _count_numbers(into: Tally, differences: Array, shifts: Array) -> None:
    if len(differences) == 1:  # most requests have one row
        difference, shift = float(differences[0]), float(shifts[0])
        if np.isnan(difference):
            into.missing += 1
            return
        into.measured += 1
        into.equal += difference == 0
        into.shift += shift
        into.shift_squares += shift * shift
        into.largest = max(into.largest, difference)
        index = sketch.bucket(difference)
        into.differences[index] = into.differences.get(index, 0) + 1
        return
    there = ~np.isnan(differences)
    present = differences[there]
    into.missing += len(differences) - len(present)
    if not len(present):
        return
    moved = shifts[there]
    into.measured += len(present)
    into.equal += int(np.count_nonzero(present == 0))
    into.shift += float(moved.sum())
    into.shift_squares += float(np.square(moved).sum())
    into.largest = max(into.largest, float(present.max()))
    sketch.merge(into.differences, sketch_of(present))


def sketch_of(magnitudes: Array) -> sketch.Sketch:
    """The sketch of many magnitudes at once."""
    small = magnitudes < sketch.SMALLEST
    logs = np.log(np.where(small, sketch.SMALLEST, magnitudes))
    index = np.floor((logs - sketch.LOG_SMALLEST) / sketch.LOG_GAMMA)
    index = np.where(small, 0, 1 + np.minimum(index, sketch.MOST - 1)).astype(np.int64)
    buckets, counts = np.unique(index, return_counts=True)
    return dict(zip(buckets.tolist(), counts.tolist(), strict=True))
