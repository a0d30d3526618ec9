"""k nearest neighbours by one matrix product; skl2onnx 1.20 gets distance weights wrong.

``|x - y|^2 = |x|^2 - 2 x.y + |y|^2`` over centred rows: one product instead of a loop over the
training rows. Other metrics, and neighbours within a radius, stay with skl2onnx.
"""

import numpy as np
from onnx import TensorProto
from skl2onnx.operator_converters import nearest_neighbours as original

from tollway.conversion.converters.builder import Nodes
from tollway.conversion.foreign import Estimator, Foreign

EUCLIDEAN = frozenset({"euclidean", "l2", "sqeuclidean"})


def is_euclidean(model: Estimator) -> bool:
    """Whether the squared distance decides, which a matrix product gives."""
    metric = model.effective_metric_
    power = (model.effective_metric_params_ or {}).get("p", getattr(model, "p", 2))
    weighted = "w" in (model.effective_metric_params_ or {})
    return not weighted and (metric in EUCLIDEAN or (metric == "minkowski" and power == 2))  # noqa: PLR2004


def _nearest(nodes: Nodes, model: Estimator) -> tuple[str, str]:
    """Squared distances and positions of the k nearest training rows, [N, k] each."""
    fitted = model._fit_X
    fitted = np.asarray(fitted.toarray() if hasattr(fitted, "toarray") else fitted, np.float64)
    centre = fitted.mean(axis=0)
    centred = fitted - centre
    rows = nodes.add("Sub", [nodes.real_input(), nodes.reals(centre[None, :])])
    axes = nodes.const(np.asarray([1], dtype=np.int64))
    own = nodes.add("ReduceSum", [nodes.add("Mul", [rows, rows]), axes], keepdims=1)
    product = nodes.add("MatMul", [rows, nodes.reals(-2.0 * centred.T)])
    theirs = nodes.reals((centred**2).sum(axis=1)[None, :])
    distances = nodes.add("Add", [nodes.add("Add", [product, theirs]), own])
    k = nodes.const(np.asarray([model.n_neighbors], dtype=np.int64))
    values = nodes.scope.get_unique_variable_name("nearest_distance")
    indices = nodes.scope.get_unique_variable_name("nearest_index")
    nodes.container.add_node(
        "TopK",
        [distances, k],
        [values, indices],
        largest=0,
        sorted=1,
        axis=1,
        name=nodes.scope.get_unique_operator_name("TopK"),
    )
    return values, indices


def _weights(nodes: Nodes, model: Estimator, squared: str) -> str | None:
    """[N, k, 1] weights of the neighbours; None where all count alike."""
    if model.weights == "uniform":
        return None
    if model.weights != "distance":
        raise NotImplementedError("weights given by a function")
    if not nodes.double:
        raise NotImplementedError("distance weights need a graph of doubles")
    fitted = np.asarray(model._fit_X, dtype=np.float64)
    size = float(((fitted - fitted.mean(axis=0)) ** 2).sum(axis=1).max())
    nothing = nodes.reals([size * 1e-14])
    axes = nodes.const(np.asarray([1], dtype=np.int64))
    same = nodes.cast(nodes.add("LessOrEqual", [squared, nothing]), nodes.real)
    any_same = nodes.add("ReduceMax", [same, axes], keepdims=1)
    safe = nodes.add("Max", [squared, nothing])
    inverse = nodes.add("Reciprocal", [nodes.add("Sqrt", [safe])])
    hit = nodes.cast(any_same, TensorProto.BOOL)
    weights = nodes.add("Where", [hit, same, inverse])
    return nodes.add("Unsqueeze", [weights, nodes.const(np.asarray([2], dtype=np.int64))])


def _average(nodes: Nodes, model: Estimator, table: Foreign) -> str:
    """[N, width]: the (weighted) mean of the neighbours' rows of ``table``."""
    squared, indices = _nearest(nodes, model)
    taken = nodes.add("Gather", [nodes.reals(table), indices], axis=0)
    weights = _weights(nodes, model, squared)
    axes = nodes.const(np.asarray([1], dtype=np.int64))
    if weights is None:
        return nodes.add("ReduceMean", [taken, axes], keepdims=0)
    total = nodes.add("ReduceSum", [nodes.add("Mul", [taken, weights]), axes], keepdims=0)
    return nodes.add("Div", [total, nodes.add("ReduceSum", [weights, axes], keepdims=0)])


def convert_regressor(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """The mean of the neighbours' targets."""
    model = operator.raw_operator
    if not is_euclidean(model):
        original.convert_nearest_neighbors_regressor(scope, operator, container)
        return
    nodes = Nodes(scope, operator, container)
    targets = np.asarray(model._y, dtype=np.float64).reshape(len(model._y), -1)
    nodes.add("Identity", [_average(nodes, model, targets)], operator.outputs[0].full_name)


def convert_classifier(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """The share of each class among the neighbours; the first of the largest is the label."""
    model = operator.raw_operator
    if not is_euclidean(model):
        original.convert_nearest_neighbors_classifier(scope, operator, container)
        return
    nodes = Nodes(scope, operator, container)
    classes = model.classes_
    table = np.eye(len(classes))[np.asarray(model._y).ravel()]
    shares = nodes.add("Identity", [_average(nodes, model, table)], operator.outputs[1].full_name)
    best = nodes.add("ArgMax", [shares], axis=1, keepdims=0)
    text = all(isinstance(c, str) for c in classes)
    values = np.asarray([str(c) if text else int(c) for c in classes], object if text else np.int64)
    nodes.add("Gather", [nodes.const(values), best], operator.outputs[0].full_name, axis=0)
