"""SimpleImputer, OneHotEncoder and OrdinalEncoder over typed columns with missing values.

A missing string is spelled :data:`tollway.conversion.schema.NULL`; a missing number is NaN. What
the encoders answer for each category is asked of the fitted encoder itself, so dropped and
infrequent categories come out as it would have them.
"""

import copy
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto
from skl2onnx.common.data_types import StringTensorType

from tollway.conversion.converters.builder import ML, Nodes, is_text, real_type
from tollway.conversion.foreign import Estimator, Foreign
from tollway.conversion.missing import passes
from tollway.conversion.rows import is_missing
from tollway.conversion.schema import NULL

Floats = npt.NDArray[np.float64]


def _spelled(values: Foreign) -> list[str]:
    return [NULL if is_missing(value) else str(value) for value in values]


# --- SimpleImputer ---------------------------------------------------------------------------


def imputer_shapes(operator: Foreign) -> None:
    """As many columns as are kept, and one more per missing-value indicator."""
    model = operator.raw_operator
    width = len(_kept(model))
    if model.indicator_ is not None:
        width += len(model.indicator_.features_)
    text = is_text(operator.inputs[0].type) and not _of_booleans(model)
    kind = StringTensorType if text else real_type(operator)
    operator.outputs[0].type = kind([None, width])


def _kept(model: Estimator) -> list[int]:
    if getattr(model, "keep_empty_features", False):
        return list(range(len(model.statistics_)))
    # None is a statistic like another where None is no missing value to the imputer.
    return [
        i for i, value in enumerate(model.statistics_) if value is None or not is_missing(value)
    ]


def _of_booleans(model: Estimator) -> bool:
    """Whether it fills columns of True and False: they come as text because some are missing."""
    statistics = [model.statistics_[i] for i in _kept(model)]
    booleans = bool(statistics) and all(isinstance(value, bool) for value in statistics)
    return booleans and not any(passes(model))


def convert_imputer(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """``Where(missing, statistic, x)``, for numbers and for strings."""
    nodes = Nodes(scope, operator, container)
    model = operator.raw_operator
    output = operator.outputs[0].full_name
    kept = _kept(model)
    text = is_text(operator.inputs[0].type)
    if text:
        names = [variable.full_name for variable in operator.inputs]
        matrix = names[0] if len(names) == 1 else nodes.add("Concat", names, axis=1)
        spelling = NULL if is_missing(model.missing_values) else str(model.missing_values)
        missing = nodes.add("Equal", [matrix, nodes.const(np.asarray([spelling], dtype=object))])
        fill = nodes.const(np.asarray([_spelled(model.statistics_[kept])], dtype=object))
    else:
        matrix = nodes.real_input()
        if is_missing(model.missing_values):
            missing = nodes.add("IsNaN", [matrix])
        else:
            missing = nodes.add("Equal", [matrix, nodes.reals([model.missing_values])])
        statistics = [
            0.0 if is_missing(model.statistics_[i]) else model.statistics_[i] for i in kept
        ]
        fill = nodes.reals([statistics])
    let_pass = passes(model)
    if any(let_pass):
        looked_at = nodes.const(~np.asarray([let_pass]))
        missing = nodes.add("And", [missing, looked_at])
    everything = len(kept) == len(model.statistics_)
    values = matrix if everything else nodes.gather(matrix, kept)
    mask = missing if everything else nodes.gather(missing, kept)
    if model.indicator_ is None and text and _of_booleans(model):
        filled = nodes.add("Where", [mask, fill, values])
        numbers = nodes.add(
            "LabelEncoder", [filled], domain=ML,
            keys_strings=["True", "False"], values_floats=[1.0, 0.0], default_float=np.nan,
        )  # fmt: skip
        nodes.cast(numbers, nodes.real, output)
        return
    if model.indicator_ is None:
        nodes.add("Where", [mask, fill, values], output)
        return
    if text:
        raise NotImplementedError("add_indicator=True over strings")
    filled = nodes.add("Where", [mask, fill, values])
    flags = nodes.gather(missing, [int(i) for i in model.indicator_.features_])
    nodes.add("Concat", [filled, nodes.cast(flags, nodes.real)], output, axis=1)


# --- OneHotEncoder ---------------------------------------------------------------------------


def _answers(model: Estimator, column: int) -> Floats:
    """The encoder's own columns for each category of ``column``, one row per category."""
    count = max(len(model.categories_[column]), 1)
    grid = np.empty((count, len(model.categories_)), dtype=object)
    for i, categories in enumerate(model.categories_):
        grid[:, i] = categories[0] if len(categories) else None
    grid[: len(model.categories_[column]), column] = model.categories_[column]
    table = _transform(model, grid)
    widths = _widths(model)
    start = sum(widths[:column])
    return np.asarray(table[:, start : start + widths[column]], dtype=np.float64)


def _transform(model: Estimator, grid: npt.NDArray[Any]) -> Foreign:
    plain = copy.copy(model)
    for attribute in ("feature_names_in_", "_sklearn_output_config"):
        if hasattr(plain, attribute):
            delattr(plain, attribute)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = plain.transform(_typed(grid, model))
    return table.toarray() if hasattr(table, "toarray") else table


def _typed(grid: npt.NDArray[Any], model: Estimator) -> npt.NDArray[Any]:
    numeric = all(categories.dtype.kind in "iufb" for categories in model.categories_)
    return grid.astype(np.float64) if numeric else grid


def _widths(model: Estimator) -> list[int]:
    return [int(n) for n in model._n_features_outs]


def one_hot_shapes(operator: Foreign) -> None:
    """One column per category that is kept."""
    operator.outputs[0].type = real_type(operator)([None, sum(_widths(operator.raw_operator))])


def _indicator(nodes: Nodes, name: str, kind: Foreign, categories: Foreign) -> str:
    """[N, categories] of booleans: which category each row has, if any."""
    if is_text(kind):
        encoded = nodes.add(
            "LabelEncoder", [name], domain=ML,
            keys_strings=_spelled(categories), values_int64s=list(range(len(categories))),
            default_int64=-1,
        )  # fmt: skip
        return nodes.add("Equal", [encoded, nodes.const(np.arange(len(categories))[None, :])])
    numbers = np.asarray(categories, dtype=np.float64)
    value = nodes.cast(name, nodes.real)
    equal = nodes.add("Equal", [value, nodes.reals(numbers[None, :])])
    if not np.isnan(numbers).any():
        return equal
    at = nodes.const(np.isnan(numbers)[None, :])
    missing = nodes.add("And", [nodes.add("IsNaN", [value]), at])
    return nodes.add("Or", [equal, missing])


def convert_one_hot(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """Equality with every category, and a matrix where categories are dropped or joined."""
    nodes = Nodes(scope, operator, container)
    model = operator.raw_operator
    parts = []
    for column, (name, kind) in enumerate(nodes.columns()):
        categories = model.categories_[column]
        if not len(categories):
            continue
        hot = nodes.cast(_indicator(nodes, name, kind, categories), nodes.real)
        answers = _answers(model, column)
        if not np.array_equal(answers, np.eye(len(categories))):
            joined = nodes.add("MatMul", [hot, nodes.reals(answers)])
            joined = _unknown_as_infrequent(nodes, model, column, hot, joined)
            hot = joined
        parts.append(hot)
    output = operator.outputs[0].full_name
    if len(parts) == 1:
        nodes.add("Identity", parts, output)
    else:
        nodes.add("Concat", parts, output, axis=1)


def _unknown_as_infrequent(
    nodes: Nodes, model: Estimator, column: int, hot: str, joined: str
) -> str:
    if model.handle_unknown not in {"infrequent_if_exist", "warn"}:
        return joined
    infrequent = model.infrequent_categories_[column]
    if infrequent is None or not len(infrequent):
        return joined
    at = list(model.categories_[column]).index(infrequent[0])
    axes = nodes.const(np.asarray([1], dtype=np.int64))
    known = nodes.add("ReduceSum", [hot, axes], keepdims=1)
    unknown = nodes.add("Sub", [nodes.reals([[1.0]]), known])
    column_of = nodes.reals(_answers(model, column)[at][None, :])
    return nodes.add("Add", [joined, nodes.add("Mul", [unknown, column_of])])


# --- OrdinalEncoder --------------------------------------------------------------------------


def ordinal_shapes(operator: Foreign) -> None:
    """One number per column."""
    operator.outputs[0].type = real_type(operator)([None, len(operator.raw_operator.categories_)])


def convert_ordinal(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """A look-up per column; unknown values as ``unknown_value``."""
    nodes = Nodes(scope, operator, container)
    model = operator.raw_operator
    unknown = model.unknown_value if model.handle_unknown == "use_encoded_value" else np.nan
    parts = []
    for column, (name, kind) in enumerate(nodes.columns()):
        categories = model.categories_[column]
        grid = np.empty((len(categories), len(model.categories_)), dtype=object)
        for i, others in enumerate(model.categories_):
            grid[:, i] = others[0]
        grid[:, column] = categories
        codes = np.asarray(_transform(model, grid), dtype=np.float64)[:, column]
        default = float(np.nan if unknown is None else unknown)
        parts.append(_looked_up(nodes, name, kind, categories, codes, default))
    matrix = parts[0] if len(parts) == 1 else nodes.add("Concat", parts, axis=1)
    nodes.cast(matrix, nodes.real, operator.outputs[0].full_name)


def _looked_up(
    nodes: Nodes, name: str, kind: Foreign, categories: Foreign, codes: Floats, default: float
) -> str:
    if is_text(kind):
        return nodes.add(
            "LabelEncoder", [name], domain=ML,
            keys_strings=_spelled(categories), values_floats=[float(c) for c in codes],
            default_float=default,
        )  # fmt: skip
    hot = nodes.cast(_indicator(nodes, name, kind, categories), TensorProto.FLOAT)
    codes32 = codes.astype(np.float32)
    finite = np.where(np.isnan(codes32), 0.0, codes32).astype(np.float32)
    value = nodes.add("MatMul", [hot, nodes.const(finite[:, None])])
    axes = nodes.const(np.asarray([1], dtype=np.int64))
    known = nodes.cast(nodes.add("ReduceSum", [hot, axes], keepdims=1), TensorProto.BOOL)
    value = nodes.add("Where", [known, value, nodes.const(np.asarray([[default]], np.float32))])
    if not np.isnan(codes32).any():
        return value
    at = nodes.const(np.isnan(codes32).astype(np.float32)[:, None])
    missing = nodes.cast(nodes.add("MatMul", [hot, at]), TensorProto.BOOL)
    return nodes.add("Where", [missing, nodes.const(np.asarray([[np.nan]], np.float32)), value])
