"""From a fitted estimator to a proven graph with everything the registry wants to know."""

from collections.abc import Callable

import onnx

from tollway.conversion.background import background
from tollway.conversion.blame import blame
from tollway.conversion.boosting import as_estimator, register_boosting
from tollway.conversion.converters import register
from tollway.conversion.encoding import encode_inputs
from tollway.conversion.errors import ConversionError
from tollway.conversion.foreign import Estimator
from tollway.conversion.golden import golden, usable
from tollway.conversion.graph import interface
from tollway.conversion.libraries import versions
from tollway.conversion.missing import check_kinds
from tollway.conversion.parity import Tolerance
from tollway.conversion.probes import Group, groups, nullable
from tollway.conversion.reference import answers, labels_of, task_of
from tollway.conversion.refusals import check_convertible, check_model
from tollway.conversion.rows import Rows
from tollway.conversion.search import Problem, Proven, counterexample, search
from tollway.conversion.training import sampled, training_rows
from tollway.conversion.types import Converted, Label, Task

GOLDEN_FROM = 200
"""Golden rows are the first usable ones of this many."""


def convert_estimator(
    model: Estimator,
    X: object,
    tolerance: Tolerance,
    background_rows: int,
    report: Callable[[str], None],
) -> Converted:
    """Search the ways of converting ``model`` until one agrees with it. Raises as ``convert``."""
    model = as_estimator(model)
    check_model(model)
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
        groups=_all_groups(model, rows, task),
        nullable=nullable(model, rows, task),
        tolerance=tolerance,
    )
    found = search(problem, report)
    if not isinstance(found, Proven):
        if any(failure.verdict is not None for failure in found):
            raise counterexample(problem, found)
        raise blame(model, found)
    inputs, outputs = interface(onnx.load_from_string(found.onnx_bytes))
    return Converted(
        onnx_bytes=found.onnx_bytes,
        task=task,
        inputs=inputs,
        outputs=outputs,
        labels=problem.labels,
        columns=found.columns,
        libraries=versions(model, X),
        conversion=found.candidate.options() | _label_type(problem.labels),
        parity=found.verdict.parity(tolerance),
        golden=_golden(found, rows),
        # Without X the rows are made up: fit to compare graphs with, but not answers.
        background=None if X is None else _background(found, rows, background_rows),
    )


def _all_groups(model: Estimator, rows: Rows, task: Task) -> list[Group]:
    try:
        expected = answers(model, rows, task)
    except Exception as error:
        raise ConversionError(
            f"{type(model).__name__} itself fails on the rows of X: {error}. Give X in the form "
            "that the model was fitted on."
        ) from error
    check_kinds(model, rows, task, expected)
    return [Group("the rows given", rows, expected), *groups(model, rows, task)]


def _label_type(labels: list[Label]) -> dict[str, str]:
    """Kept beside the labels, because a manifest's canonical JSON writes 1.0 as 1."""
    return {"labels": "float"} if any(type(label) is float for label in labels) else {}


def _background(found: Proven, rows: Rows, count: int) -> bytes | None:
    encoded = encode_inputs(found.inputs, found.columns, rows.native)
    return background(encoded, found.inputs, found.columns, count)


def _golden(found: Proven, rows: Rows) -> bytes | None:
    some = rows.take(list(range(min(len(rows), GOLDEN_FROM))))
    encoded = encode_inputs(found.inputs, found.columns, some.native)
    kept = usable(encoded)
    if not len(kept):
        return None
    chosen = {name: value[kept] for name, value in encoded.items()}
    return golden(chosen, found.session.run(chosen), found.inputs)
