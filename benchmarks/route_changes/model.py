"""A model each of whose versions answers with a number of its own."""

import json

import onnx
from onnx import TensorProto, helper

NAME = "route-changes"
REQUEST = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0.5]}]}
).encode()


def answering(number: int) -> onnx.ModelProto:
    """A graph that answers ``number`` to whatever it is asked."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])
    nought = helper.make_tensor("nought", TensorProto.FLOAT, [1], [0.0])
    added = helper.make_tensor("added", TensorProto.FLOAT, [1], [float(number)])
    nodes = [
        helper.make_node("Mul", ["x", "nought"], ["nothing"]),
        helper.make_node("Add", ["nothing", "added"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "answering", [x], [y], [nought, added])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def answered(body: bytes) -> float:
    """The number in an answer. Raises ``ValueError`` for a body that is no answer."""
    try:
        return float(json.loads(body)["outputs"][0]["data"][0])
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"not an answer: {body[:200]!r}") from error
