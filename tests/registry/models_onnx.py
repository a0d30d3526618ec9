"""Small ONNX models to publish."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def linear(features: int = 3, *, opset: int = 17, scale: float = 1.0) -> onnx.ModelProto:
    """``prediction = input @ weights``: float [-1, features] to float [-1, 1]."""
    weights = numpy_helper.from_array(
        np.full((features, 1), scale, dtype=np.float32), name="weights"
    )
    node = helper.make_node("MatMul", ["input", "weights"], ["prediction"])
    graph = helper.make_graph(
        [node],
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", features])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["rows", 1])],
        [weights],
    )
    return model_of(graph, opset=opset)


def one_node(
    operator: str,
    *,
    domain: str = "",
    opset: int = 17,
    element: int = TensorProto.FLOAT,
    **attributes: Any,
) -> onnx.ModelProto:
    """A graph of one node from ``x`` to ``y``."""
    node = helper.make_node(operator, ["x"], ["y"], domain=domain, **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", element, [None, 1])],
        [helper.make_tensor_value_info("y", element, [None, 1])],
    )
    imports = {"": opset} | ({domain: 1} if domain else {})
    return model_of(graph, imports=imports)


def model_of(
    graph: onnx.GraphProto, *, opset: int = 17, imports: dict[str, int] | None = None
) -> onnx.ModelProto:
    """A model around ``graph``."""
    opsets = [helper.make_opsetid(k, v) for k, v in (imports or {"": opset}).items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def with_external_weights(location: str, **entries: str) -> onnx.ModelProto:
    """The linear model with its weights in ``location``; the file has 12 bytes."""
    model = linear()
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    return model


EXTERNAL_WEIGHTS = np.ones((3, 1), dtype=np.float32).tobytes()
