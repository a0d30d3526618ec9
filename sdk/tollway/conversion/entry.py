"""The way in: one function for every kind of model."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tollway.conversion.encoding import encode_inputs
from tollway.conversion.errors import ConversionError, ParityError
from tollway.conversion.parity import Tolerance
from tollway.conversion.rows import Rows, rows_of
from tollway.conversion.types import Converted

MOST_ROWS = 2000
"""Rows compared at most; larger training data is sampled, the same rows every time."""


def convert(
    model: object,
    X: object = None,
    y: object = None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Converted:
    """Convert ``model`` and prove that the graph answers as it does on the rows of ``X``.

    ``model`` is a fitted scikit-learn estimator or pipeline, a LightGBM or XGBoost model, a path to
    an ``.onnx`` file, or an ``onnx.ModelProto``; the last two deploy as they are. ``y`` is not
    needed for the proof. ``progress`` is called with one short line per step. Raises
    :class:`ConversionError` or :class:`ParityError`.
    """
    del y  # parity is with the original's answers, not with the truth
    report = progress or (lambda _line: None)
    if isinstance(model, (str, os.PathLike)) or type(model).__name__ == "ModelProto":
        from tollway.conversion.given import convert_given  # noqa: PLC0415

        return convert_given(model, X, report)
    from tollway.conversion.parity import ATOL, RTOL  # noqa: PLC0415

    tolerance = Tolerance(ATOL if atol is None else atol, RTOL if rtol is None else rtol)
    return _convert_estimator(model, X, tolerance, report)


def _convert_estimator(
    model: Any, X: object, tolerance: Tolerance, report: Callable[[str], None]
) -> Converted:
    from tollway.conversion.boosting import as_estimator, register_boosting  # noqa: PLC0415
    from tollway.conversion.converters import register  # noqa: PLC0415
    from tollway.conversion.graph import interface  # noqa: PLC0415
    from tollway.conversion.libraries import versions  # noqa: PLC0415
    from tollway.conversion.reference import labels_of, task_of  # noqa: PLC0415
    from tollway.conversion.refusals import check_convertible  # noqa: PLC0415
    from tollway.conversion.search import Problem, Proven, counterexample, search  # noqa: PLC0415

    model = as_estimator(model)
    register()
    register_boosting(model)
    check_convertible(model)
    rows = sampled(training_rows(model, X))
    task = task_of(model)
    report("asking the original")
    problem = Problem(
        model=model,
        task=task,
        labels=labels_of(model, task),
        groups=_groups(model, rows, task),
        nullable=_nullable(model, rows, task),
        tolerance=tolerance,
    )
    found = search(problem, report)
    if not isinstance(found, Proven):
        if any(f.verdict is not None for f in found):
            raise counterexample(problem, found)
        from tollway.conversion.blame import blame  # noqa: PLC0415

        raise blame(model, found)
    import onnx  # noqa: PLC0415

    inputs, outputs = interface(onnx.load_from_string(found.onnx_bytes))
    return Converted(
        onnx_bytes=found.onnx_bytes,
        task=task,
        inputs=inputs,
        outputs=outputs,
        labels=problem.labels,
        columns=found.columns,
        libraries=versions(model, X),
        conversion=found.candidate.options(),
        parity=found.verdict.parity(tolerance),
        golden=_golden(found, rows),
    )


def training_rows(model: Any, X: object) -> Rows:
    """The rows to compare on: ``X``, or made-up ones where the model says how many columns it has."""
    if X is not None:
        return named_as_fitted(model, rows_of(X))
    width = getattr(model, "n_features_in_", None)
    if width is None:
        raise ConversionError(
            f"give X, some rows of training data: {type(model).__name__} does not say which columns "
            "it takes"
        )
    names = getattr(model, "feature_names_in_", None)
    matrix = np.random.default_rng(0).normal(size=(64, int(width)))
    return named_as_fitted(model, rows_of(matrix)) if names is None else _framed(names, matrix)


def _framed(names: Any, matrix: Any) -> Rows:
    try:
        import pandas  # noqa: PLC0415
    except ImportError as error:
        raise ConversionError("the model was fitted on a frame: give X, some of its rows") from error
    return rows_of(pandas.DataFrame(matrix, columns=list(names)))


def named_as_fitted(model: Any, rows: Rows) -> Rows:
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


def _groups(model: Any, rows: Rows, task: Any) -> list[Any]:
    from tollway.conversion.probes import Group, groups  # noqa: PLC0415
    from tollway.conversion.reference import answers  # noqa: PLC0415

    try:
        expected = answers(model, rows, task)
    except Exception as error:
        raise ConversionError(
            f"{type(model).__name__} itself fails on the rows of X: {error}. Give X in the form "
            "that the model was fitted on."
        ) from error
    return [Group("the rows given", rows, expected), *groups(model, rows, task)]


def _nullable(model: Any, rows: Rows, task: Any) -> list[bool]:
    from tollway.conversion.probes import nullable  # noqa: PLC0415

    return nullable(model, rows, task)


def _golden(found: Any, rows: Rows) -> bytes | None:
    from tollway.conversion.golden import golden, usable  # noqa: PLC0415

    some = rows.take(list(range(min(len(rows), 200))))
    encoded = encode_inputs(found.inputs, found.columns, some.native)
    kept = usable(encoded)
    if not len(kept):
        return None
    chosen = {name: value[kept] for name, value in encoded.items()}
    return golden(chosen, found.session.run(chosen), found.inputs)


__all__ = ["ConversionError", "ParityError", "convert"]
