"""The rows that a conversion is compared on."""

import numpy as np

from tollway.conversion.errors import ConversionError
from tollway.conversion.foreign import Estimator, Foreign
from tollway.conversion.rows import Rows, rows_of

MOST_ROWS = 2000
"""Rows compared at most; larger training data is sampled, the same rows every time."""


def training_rows(model: Estimator, X: object) -> Rows:
    """The rows to compare on: ``X``, or made-up ones if the model knows its columns."""
    if X is not None:
        return named_as_fitted(model, rows_of(X))
    width = getattr(model, "n_features_in_", None)
    if width is None:
        raise ConversionError(
            f"give X, some rows of training data: {type(model).__name__} does not say which "
            "columns it takes"
        )
    names = getattr(model, "feature_names_in_", None)
    matrix = np.random.default_rng(0).normal(size=(64, int(width)))
    return named_as_fitted(model, rows_of(matrix)) if names is None else _framed(names, matrix)


def _framed(names: Foreign, matrix: Foreign) -> Rows:
    try:
        import pandas  # noqa: PLC0415
    except ImportError as error:
        raise ConversionError(
            "the model was fitted on a frame: give X, some of its rows"
        ) from error
    return rows_of(pandas.DataFrame(matrix, columns=list(names)))


def named_as_fitted(model: Estimator, rows: Rows) -> Rows:
    """Arrays take the column names that the model was fitted with, if it has any."""
    names = getattr(model, "feature_names_in_", None)
    if rows.framed or names is None or len(names) != len(rows.names):
        return rows
    return Rows(rows.native, rows.kind, tuple(str(name) for name in names), rows.columns)


def sampled(rows: Rows) -> Rows:
    """All rows, or :data:`MOST_ROWS` of them: the first, the last and a fixed choice between."""
    if not len(rows):
        raise ConversionError("X has no rows: give some rows of training data")
    if len(rows) <= MOST_ROWS:
        return rows
    chosen = np.random.default_rng(0).choice(len(rows), size=MOST_ROWS, replace=False)
    chosen[0], chosen[-1] = 0, len(rows) - 1
    return rows.take(np.unique(chosen))
