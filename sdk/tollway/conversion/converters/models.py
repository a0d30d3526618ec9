"""Small estimators that skl2onnx has no (right) converter for."""

from typing import Any

import numpy as np
from onnx import TensorProto
from skl2onnx.common.data_types import Int64TensorType, StringTensorType

from tollway.conversion.converters.builder import Nodes, real_type
from tollway.conversion.foreign import Estimator, Foreign

# --- EllipticEnvelope ------------------------------------------------------------------------


def outlier_shapes(operator: Foreign) -> None:
    """Labels of 1 and -1, and the decision function."""
    operator.outputs[0].type = Int64TensorType([None])
    operator.outputs[1].type = real_type(operator)([None])


def convert_elliptic_envelope(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """``-(x - location)' precision (x - location) - offset``; an inlier is 0 or above."""
    nodes = Nodes(scope, operator, container)
    model = operator.raw_operator
    centred = nodes.add("Sub", [nodes.real_input(), nodes.reals(model.location_[None, :])])
    turned = nodes.add("MatMul", [centred, nodes.reals(model.get_precision())])
    axes = nodes.const(np.asarray([1], dtype=np.int64))
    distance = nodes.add("ReduceSum", [nodes.add("Mul", [turned, centred]), axes], keepdims=0)
    shifted = nodes.add("Add", [distance, nodes.reals([model.offset_])])
    scores = nodes.add("Neg", [shifted], operator.outputs[1].full_name)
    outlying = nodes.cast(nodes.add("Less", [scores, nodes.reals([0.0])]), TensorProto.INT64)
    doubled = nodes.add("Mul", [outlying, nodes.const(np.asarray([-2], dtype=np.int64))])
    one = nodes.const(np.asarray([1], dtype=np.int64))
    nodes.add("Add", [doubled, one], operator.outputs[0].full_name)


# --- IsotonicRegression ----------------------------------------------------------------------


def isotonic_shapes(operator: Foreign) -> None:
    """One number per row."""
    operator.outputs[0].type = real_type(operator)([None, 1])


def convert_isotonic(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """Linear between the thresholds, flat outside them."""
    nodes = Nodes(scope, operator, container)
    model = operator.raw_operator
    if model.out_of_bounds == "raise":
        raise NotImplementedError("out_of_bounds='raise'")
    value = piecewise_linear(nodes, nodes.real_input(), model)
    nodes.add("Identity", [value], operator.outputs[0].full_name)


def piecewise_linear(nodes: Nodes, x: str, model: Estimator) -> str:
    """``y0 + sum of slope * clip(x - x_i, 0, x_i+1 - x_i)`` over an [N, 1] tensor."""
    xs = np.asarray(model.X_thresholds_, dtype=np.float64)
    ys = np.asarray(model.y_thresholds_, dtype=np.float64)
    if len(xs) == 1:
        zero = nodes.add("Mul", [x, nodes.reals([[0.0]])])
        return nodes.add("Add", [zero, nodes.reals(ys[:1][None, :])])
    widths = np.diff(xs)
    inside = nodes.add("Sub", [x, nodes.reals(xs[:-1][None, :])])
    clipped = nodes.add("Max", [inside, nodes.reals([[0.0]])])
    clipped = nodes.add("Min", [clipped, nodes.reals(widths[None, :])])
    rise = nodes.add("MatMul", [clipped, nodes.reals((np.diff(ys) / widths)[:, None])])
    return nodes.add("Add", [rise, nodes.reals([[ys[0]]])])


def calibrate_isotonic(
    scope: Foreign,
    container: Foreign,
    model: Estimator,
    scores: str,
    k: int,
    dtype: Foreign,
    proto_type: Foreign,
) -> str:
    """In place of skl2onnx's own, which takes the nearest threshold and does not interpolate."""
    del dtype
    double = proto_type == TensorProto.DOUBLE
    nodes = Nodes(scope, None, container, double=double)
    column = nodes.add("Reshape", [scores, nodes.const(np.asarray([-1, 1], dtype=np.int64))])
    return piecewise_linear(nodes, column, model.calibrators[k])


# --- Support masks ---------------------------------------------------------------------------


def selector_shapes(operator: Foreign) -> None:
    """The selected columns, types as they come."""
    kept = int(np.sum(operator.raw_operator.get_support()))
    single = len(operator.inputs) == 1
    kind = type(operator.inputs[0].type) if single else real_type(operator)
    operator.outputs[0].type = kind([None, kept])


def convert_selector(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """Gather the supported columns."""
    nodes = Nodes(scope, operator, container)
    support = [int(i) for i in np.flatnonzero(operator.raw_operator.get_support())]
    single = len(operator.inputs) == 1
    value = operator.inputs[0].full_name if single else nodes.real_input()
    index = nodes.const(np.asarray(support, dtype=np.int64))
    nodes.add("Gather", [value, index], operator.outputs[0].full_name, axis=1)


# --- Thresholds on a classifier --------------------------------------------------------------


def threshold_shapes(operator: Foreign) -> None:
    """Labels of the classes' type, the inner classifier's probabilities."""
    classes = operator.raw_operator.classes_
    text = all(isinstance(c, str) for c in classes)
    operator.outputs[0].type = (StringTensorType if text else Int64TensorType)([None])
    operator.outputs[1].type = real_type(operator)([None, len(classes)])


def convert_threshold(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """The second class where its probability reaches the threshold (skl2onnx ignores it)."""
    nodes = Nodes(scope, operator, container)
    model = operator.raw_operator
    kind = real_type(operator)
    text = all(isinstance(c, str) for c in model.classes_)
    label_type = (StringTensorType if text else Int64TensorType)([None])
    _, scores = nodes.child(
        model.estimator_,
        operator.inputs,
        [("inner_label", label_type), ("inner_scores", kind([None, 2]))],
    )
    probabilities = nodes.cast(scores, nodes.real, operator.outputs[1].full_name)
    second = nodes.gather(probabilities, [1])
    second = nodes.add("Reshape", [second, nodes.const(np.asarray([-1], dtype=np.int64))])
    chosen = nodes.add("GreaterOrEqual", [second, nodes.reals([_threshold(model)])])
    negative, positive = _outcomes(model)
    dtype = object if text else np.int64
    nodes.add(
        "Where",
        [
            chosen,
            nodes.const(np.asarray([positive], dtype=dtype)),
            nodes.const(np.asarray([negative], dtype=dtype)),
        ],
        operator.outputs[0].full_name,
    )


def _threshold(model: Estimator) -> float:
    method = getattr(model, "response_method", "auto")
    has_probabilities = hasattr(model.estimator_, "predict_proba")
    if method == "decision_function" or not has_probabilities:
        raise NotImplementedError("a threshold on decision_function")
    if hasattr(model, "best_threshold_"):
        return float(model.best_threshold_)
    return 0.5 if model.threshold == "auto" else float(model.threshold)


def _outcomes(model: Estimator) -> tuple[Any, Any]:
    if getattr(model, "pos_label", None) not in {None, model.classes_[1]}:
        raise NotImplementedError("pos_label other than the second class")
    return model.classes_[0], model.classes_[1]
