"""FunctionTransformer and TransformedTargetRegressor over numpy functions that ONNX has as well."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tollway.conversion.converters.builder import Nodes, real_type
from tollway.conversion.foreign import Estimator, Foreign

Writer = Callable[[Nodes, str], str]


def _op(name: str) -> Writer:
    return lambda nodes, value: nodes.add(name, [value])


def _log1p(nodes: Nodes, value: str) -> str:
    return nodes.add("Log", [nodes.add("Add", [value, nodes.reals([1.0])])])


def _expm1(nodes: Nodes, value: str) -> str:
    return nodes.add("Sub", [nodes.add("Exp", [value]), nodes.reals([1.0])])


def _log_of(base: float) -> Writer:
    def write(nodes: Nodes, value: str) -> str:
        return nodes.add("Div", [nodes.add("Log", [value]), nodes.reals([np.log(base)])])

    return write


FUNCTIONS: dict[Any, Writer] = {
    None: _op("Identity"),
    np.log: _op("Log"),
    np.log1p: _log1p,
    np.log2: _log_of(2.0),
    np.log10: _log_of(10.0),
    np.exp: _op("Exp"),
    np.expm1: _expm1,
    np.sqrt: _op("Sqrt"),
    np.square: lambda nodes, value: nodes.add("Mul", [value, value]),
    np.abs: _op("Abs"),
    np.fabs: _op("Abs"),
    np.negative: _op("Neg"),
    np.reciprocal: _op("Reciprocal"),
    np.sign: _op("Sign"),
    np.sin: _op("Sin"),
    np.cos: _op("Cos"),
    np.tan: _op("Tan"),
    np.tanh: _op("Tanh"),
    np.floor: _op("Floor"),
    np.ceil: _op("Ceil"),
    np.rint: _op("Round"),
}
"""numpy function -> how to write it; None is the identity."""


def known_functions() -> str:
    """The functions by name, for error messages."""
    return ", ".join(sorted({f"np.{f.__name__}" for f in FUNCTIONS if f is not None}))


def is_known(function: object) -> bool:
    """Whether ``function`` can be written as ONNX nodes."""
    try:
        return function in FUNCTIONS
    except TypeError:
        return False


def function_shapes(operator: Foreign) -> None:
    """The shape of the inputs side by side."""
    widths = [variable.get_second_dimension() for variable in operator.inputs]
    width = None if None in widths else sum(widths)
    single = len(operator.inputs) == 1
    kind = type(operator.inputs[0].type) if single else real_type(operator)
    if operator.raw_operator.func is not None:
        kind = real_type(operator)
    operator.outputs[0].type = kind([None, width])


def convert_function(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """The function itself, or the inputs as they are."""
    nodes = Nodes(scope, operator, container)
    model = operator.raw_operator
    if model.kw_args or not is_known(model.func):
        raise NotImplementedError(f"FunctionTransformer over {model.func!r}")
    plain = model.func is None and len(operator.inputs) == 1
    value = operator.inputs[0].full_name if plain else nodes.real_input()
    written = FUNCTIONS[model.func](nodes, value)
    nodes.add("Identity", [written], operator.outputs[0].full_name)


def target_shapes(operator: Foreign) -> None:
    """One number per row and target."""
    operator.outputs[0].type = real_type(operator)([None, None])


def convert_target(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """The regressor, then the inverse of what was done to the target."""
    nodes = Nodes(scope, operator, container)
    model = operator.raw_operator
    kind = real_type(operator)
    raw = nodes.child(model.regressor_, operator.inputs, [("target", kind([None, 1]))])[0]
    value = _inverse(nodes, model.transformer_, nodes.cast(raw, nodes.real))
    nodes.add("Identity", [value], operator.outputs[0].full_name)


def _inverse(nodes: Nodes, transformer: Estimator, value: str) -> str:
    name = type(transformer).__name__
    if name == "FunctionTransformer" and is_known(transformer.inverse_func):
        return FUNCTIONS[transformer.inverse_func](nodes, value)
    scale, shift = _affine(transformer, name)
    if scale is None or shift is None:
        raise NotImplementedError(f"TransformedTargetRegressor with {transformer!r}")
    return nodes.add("Add", [nodes.add("Mul", [value, nodes.reals(scale)]), nodes.reals(shift)])


def _affine(transformer: Estimator, name: str) -> tuple[Any, Any]:
    """``(scale, shift)`` of an inverse transform that is affine."""
    if name == "StandardScaler":
        return (
            1.0 if transformer.scale_ is None else transformer.scale_,
            0.0 if transformer.mean_ is None else transformer.mean_,
        )
    if name == "RobustScaler":
        scale = getattr(transformer, "scale_", None)
        center = getattr(transformer, "center_", None)
        return (1.0 if scale is None else scale, 0.0 if center is None else center)
    if name == "MinMaxScaler":
        return 1.0 / transformer.scale_, -transformer.min_ / transformer.scale_
    if name == "MaxAbsScaler":
        return transformer.scale_, 0.0
    return None, None
