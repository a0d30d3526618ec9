"""Conditions on columns (:mod:`protocol.segments`) over the rows of a whole batch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.segments import COMPARE, Condition, Term

NUMERIC = "biuf"
"""Kinds of arrays that are compared with numbers as they are."""


def mask(
    condition: Condition, columns: Mapping[str, npt.NDArray[Any]], rows: int
) -> npt.NDArray[np.bool_]:
    """Which of ``rows`` rows satisfy the condition; ``columns`` are arrays of one dimension.

    As ``Condition.holds`` for each row, but that numbers compare in the precision of their array:
    0.1 equals what FP32 makes of it.
    """
    found = np.ones(rows, dtype=np.bool_)
    for term in condition.terms:
        values = columns.get(term.column)
        if values is None:
            return np.zeros(rows, dtype=np.bool_)
        found &= _term_mask(term, values)
    return found


def _term_mask(term: Term, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if values.dtype.kind in NUMERIC and not isinstance(term.value, str):
        compared = np.asarray(COMPARE[term.operator](values, term.value), dtype=np.bool_)
        if values.dtype.kind == "f":
            compared &= ~np.isnan(values)
        return compared
    # Text has no vector form that tells a missing value from others, and truth values are few.
    return np.fromiter(
        (term.holds(value) for value in values.tolist()), dtype=np.bool_, count=len(values)
    )
