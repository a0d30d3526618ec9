"""Models that the end-to-end tests deploy."""

import onnx
from onnx import TensorProto, helper


def affine() -> onnx.ModelProto:
    """y = 2x, for any number of rows of 3."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    node = helper.make_node("Mul", ["x", "two"], ["y"])
    graph = helper.make_graph([node], "affine", [x], [y], [two])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def many_types() -> onnx.ModelProto:
    """Identity of a float, an integer, a boolean and a string, each [N, 1]."""
    kinds = {
        "f": TensorProto.FLOAT,
        "i": TensorProto.INT64,
        "b": TensorProto.BOOL,
        "s": TensorProto.STRING,
    }
    inputs = [helper.make_tensor_value_info(n, k, ["N", 1]) for n, k in kinds.items()]
    outputs = [helper.make_tensor_value_info(n + "_out", k, ["N", 1]) for n, k in kinds.items()]
    nodes = [helper.make_node("Identity", [n], [n + "_out"]) for n in kinds]
    graph = helper.make_graph(nodes, "many", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


AFFINE_REQUEST = {
    "inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1.0, 2.0, 3.0]}]
}
