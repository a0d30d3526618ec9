"""HistGradientBoosting: skl2onnx 1.20 hands ``base_values`` over in a form that onnx refuses."""

from typing import Any

import numpy as np
from onnx import numpy_helper
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.common.shape_calculator import (
    _infer_linear_classifier_output_types,
)
from skl2onnx.common.tree_ensemble import sklearn_threshold

from tollway.conversion.converters.builder import ML, Nodes
from tollway.conversion.foreign import Estimator, Foreign

LINKS = {"HalfPoissonLoss", "HalfGammaLoss"}
"""Losses whose raw prediction is the logarithm of the answer."""


def float_threshold(threshold: float) -> float:
    """The float32 that splits float32 values as ``threshold`` does."""
    if not np.isfinite(threshold):
        return threshold
    return float(sklearn_threshold(threshold, np.float32, "BRANCH_LEQ"))


class Trees:
    """The nodes and leaves of an ensemble in the attribute form of ``ai.onnx.ml``."""

    def __init__(self, *, double: bool, leaf: str) -> None:
        self._double = double
        self._leaf = leaf
        self.nodes: dict[str, list[Any]] = {
            f"nodes_{key}": []
            for key in (
                "treeids", "nodeids", "featureids", "modes", "values",
                "truenodeids", "falsenodeids", "missing_value_tracks_true",
            )
        }  # fmt: skip
        ids = "class_ids" if leaf == "class" else "target_ids"
        self._ids = ids
        self.leaves: dict[str, list[Any]] = {
            f"{leaf}_treeids": [], f"{leaf}_nodeids": [], ids: [], f"{leaf}_weights": [],
        }  # fmt: skip

    def add(self, tree: int, nodes: Foreign, output: int) -> None:
        """Append the node array of one predictor; its leaves count for ``output``."""
        for i, node in enumerate(nodes):
            leaf = bool(node["is_leaf"])
            threshold = 0.0 if leaf else float(node["num_threshold"])
            row = (
                tree, i, 0 if leaf else int(node["feature_idx"]),
                "LEAF" if leaf else "BRANCH_LEQ",
                threshold if self._double else float_threshold(threshold),
                0 if leaf else int(node["left"]), 0 if leaf else int(node["right"]),
                0 if leaf else int(node["missing_go_to_left"]),
            )  # fmt: skip
            for values, value in zip(self.nodes.values(), row, strict=True):
                values.append(value)
            if leaf:
                answer = (tree, i, output, float(node["value"]))
                for values, value in zip(self.leaves.values(), answer, strict=True):
                    values.append(value)

    def attributes(self, base: Foreign) -> dict[str, Any]:
        """Node attributes; doubles travel as tensors."""
        attributes = {**self.nodes, **self.leaves}
        base = np.asarray(base, dtype=np.float64).ravel()
        if not self._double:
            return {**attributes, "base_values": [float(b) for b in base]}
        weights = f"{self._leaf}_weights"
        for key in ("nodes_values", weights):
            values = np.asarray(attributes.pop(key), dtype=np.float64)
            attributes[f"{key}_as_tensor"] = numpy_helper.from_array(values)
        attributes["base_values_as_tensor"] = numpy_helper.from_array(base)
        return attributes


def _trees(model: Estimator, *, double: bool, leaf: str) -> dict[str, Any]:
    trees = Trees(double=double, leaf=leaf)
    per_iteration = model.n_trees_per_iteration_
    for iteration, predictors in enumerate(model._predictors):
        for output, predictor in enumerate(predictors):
            trees.add(iteration * per_iteration + output, predictor.nodes, output)
    return trees.attributes(model._baseline_prediction)


def classifier_shapes(operator: Foreign) -> None:
    """Labels of the classes' type, float probabilities: what TreeEnsembleClassifier gives."""
    _infer_linear_classifier_output_types(operator)
    operator.outputs[1].type = FloatTensorType([None, len(operator.raw_operator.classes_)])


def regressor_shapes(operator: Foreign) -> None:
    """One float per row."""
    operator.outputs[0].type = FloatTensorType([None, 1])


def convert_classifier(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """One TreeEnsembleClassifier node."""
    nodes = Nodes(scope, operator, container)
    model = operator.raw_operator
    attributes = _trees(model, double=nodes.double, leaf="class")
    binary = model.n_trees_per_iteration_ == 1
    attributes["post_transform"] = "LOGISTIC" if binary else "SOFTMAX"
    if all(isinstance(c, str) for c in model.classes_):
        attributes["classlabels_strings"] = [str(c) for c in model.classes_]
    else:
        attributes["classlabels_int64s"] = [int(c) for c in model.classes_]
    container.add_node(
        "TreeEnsembleClassifier",
        [nodes.real_input()],
        [output.full_name for output in operator.outputs],
        op_domain=ML,
        name=scope.get_unique_operator_name("TreeEnsembleClassifier"),
        **attributes,
    )


def convert_regressor(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """One TreeEnsembleRegressor node, and Exp where the loss has a log link."""
    nodes = Nodes(scope, operator, container)
    model = operator.raw_operator
    attributes = _trees(model, double=nodes.double, leaf="target")
    output = operator.outputs[0].full_name
    linked = type(model._loss).__name__ in LINKS
    raw = nodes.add(
        "TreeEnsembleRegressor",
        [nodes.real_input()],
        None if linked else output,
        domain=ML,
        n_targets=1,
        **attributes,
    )
    if linked:
        nodes.add("Exp", [raw], output)
