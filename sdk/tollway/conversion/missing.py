"""None or NaN: scikit-learn keeps the kinds of missing values apart, a tensor has one form for all.

So rows that are made up must spell a missing value as the training data did, an imputer that looks
for the other kind lets the data's own kind pass, and a column that mixes kinds cannot be served
where the model tells them apart.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from tollway.conversion.foreign import Estimator
from tollway.conversion.reference import Answers, answers
from tollway.conversion.rows import Rows, is_missing, is_pandas, is_polars
from tollway.conversion.steps import is_container, parts, refuse
from tollway.conversion.types import Task

_seen: ContextVar[dict[str, object]] = ContextVar("_seen")
"""Column -> how the data of the conversion under way spells a missing value."""


def kinds(rows: Rows, column: int) -> list[object]:
    """The missing values of a column, one of each kind, in the order met."""
    found: dict[str, object] = {}
    if _holds_objects(rows, column):
        for value in rows.native_values(column):
            if is_missing(value):
                found.setdefault(type(value).__name__, value)
    return list(found.values())


def _holds_objects(rows: Rows, column: int) -> bool:
    if is_polars(rows.native) or rows.kind == "text":
        return False
    dtype = rows.native.dtypes.iloc[column] if is_pandas(rows.native) else rows.native.dtype
    # pandas' own string and category types have one kind of missing value each.
    return isinstance(dtype, np.dtype) and dtype.kind == "O"


def missing_value(model: Estimator, rows: Rows, column: int) -> object:
    """How this column spells a missing value: as seen, else as the model was fitted, else NaN."""
    if is_polars(rows.native):
        return None
    if not _holds_objects(rows, column):
        return np.nan
    seen = kinds(rows, column)
    if seen:
        return seen[0]
    return (
        None if any(_knows_none(part, rows.names[column]) for _, part in parts(model)) else np.nan
    )


def _knows_none(part: Estimator, column: str) -> bool:
    names = [str(name) for name in getattr(part, "feature_names_in_", [])]
    if names and column not in names:
        return False
    if type(part).__name__ == "SimpleImputer":
        return part.missing_values is None
    categories = getattr(part, "categories_", None)
    if categories is None:
        return False
    mine = [categories[names.index(column)]] if names else categories
    return any(value is None for some in mine for value in some.tolist())


@contextmanager
def spelled_as(model: Estimator, rows: Rows) -> Iterator[None]:
    """While it lasts, :func:`passes` knows how ``rows`` spell their missing values."""
    token = _seen.set({name: missing_value(model, rows, i) for i, name in enumerate(rows.names)})
    try:
        yield
    finally:
        _seen.reset(token)


def passes(imputer: Estimator) -> list[bool]:
    """For each column of a SimpleImputer, whether it lets missing values pass.

    That is so where they are None and it looks for NaN: only ``most_frequent`` and ``constant``
    keep objects as they are; the other strategies make numbers of them first, and None a NaN.
    """
    width = len(imputer.statistics_)
    own = imputer.missing_values
    looks_for_nan = isinstance(own, float) and np.isnan(own)
    if imputer.strategy not in {"most_frequent", "constant"} or not looks_for_nan:
        return [False] * width
    seen = _seen.get({})
    names = getattr(imputer, "feature_names_in_", None)
    if names is None:
        return [bool(seen) and all(value is None for value in seen.values())] * width
    return [str(name) in seen and seen[str(name)] is None for name in names]


def check_kinds(model: Estimator, rows: Rows, task: Task, expected: Answers) -> None:
    """Refuse a column that mixes kinds of missing values which the model answers differently."""
    for i, name in enumerate(rows.names):
        found = kinds(rows, i)
        if len(found) < 2 or _same_answers(model, rows, i, found[0], task, expected):  # noqa: PLR2004
            continue
        mixed = " and ".join("NaN" if isinstance(v, float) else repr(v) for v in found)
        fitting = [
            (path, part)
            for path, part in parts(model)
            if not is_container(part)
            and name in [str(n) for n in getattr(part, "feature_names_in_", [])]
        ]
        path, part = fitting[0] if fitting else ((), model)
        raise refuse(
            path,
            part,
            f"column {name!r} holds {mixed}, which it keeps apart; in a request a missing value "
            "has one form",
            f"Way out: make them one before fit and deploy, as in X[{name!r}] = "
            f"X[{name!r}].where(X[{name!r}].notna(), None).",
        )


def _same_answers(
    model: Estimator, rows: Rows, column: int, value: object, task: Task, expected: Answers
) -> bool:
    values = [value if is_missing(v) else v for v in rows.native_values(column)]
    try:
        got = answers(model, rows.replaced(column, values), task)
    except Exception:
        return False  # the model refuses one of the kinds
    pairs = ((expected.main, got.main), (expected.probabilities, got.probabilities))
    return all(
        np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
        for left, right in pairs
        if left is not None and right is not None
    )
