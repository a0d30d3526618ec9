"""Small ONNX graphs, each made for one thing that an engine must handle."""

from collections.abc import Sequence

import msgspec
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from protocol.datatypes import ONNX_ELEMENT_TYPES
from protocol.manifest import Blob, Column, Manifest, Task, sha256_digest
from registry.graph import signature_of

OPSET = 17
IR_VERSION = 9
ELEMENTS = {name: number for number, name in ONNX_ELEMENT_TYPES.items()}
Shape = Sequence[int | str | None]


def tensor(name: str, datatype: str, shape: Shape) -> ValueInfoProto:
    """A graph input or output; None or a name is a dynamic dimension."""
    return helper.make_tensor_value_info(name, ELEMENTS[datatype], shape)


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    initializer: Sequence[TensorProto] = (),
) -> ModelProto:
    """A model around ``nodes``."""
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializer)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )


def identity(datatype: str = "FP32", shape: Shape = (None, 3)) -> ModelProto:
    """``y = x``, of any type and shape."""
    return model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [tensor("x", datatype, shape)],
        [tensor("y", datatype, shape)],
    )


def linear(features: int = 30) -> ModelProto:
    """A regressor: ``prediction = input @ [0, 1, 2 ...] + 0.5``, shape [-1, 1]."""
    weights = numpy_helper.from_array(np.arange(features, dtype=np.float32).reshape(-1, 1), "w")
    offset = numpy_helper.from_array(np.array([0.5], np.float32), "b")
    return model(
        [
            helper.make_node("MatMul", ["input", "w"], ["m"]),
            helper.make_node("Add", ["m", "b"], ["prediction"]),
        ],
        [tensor("input", "FP32", (None, features))],
        [tensor("prediction", "FP32", (None, 1))],
        initializer=[weights, offset],
    )


def classifier() -> ModelProto:
    """Two outputs: ``label`` = argmax, ``probabilities`` = softmax of the three features."""
    return model(
        [
            helper.make_node("Softmax", ["input"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["input"], ["label"], axis=1, keepdims=0),
        ],
        [tensor("input", "FP32", (None, 3))],
        [tensor("label", "INT64", (None,)), tensor("probabilities", "FP32", (None, 3))],
    )


def columns() -> ModelProto:
    """One input per column, strings and booleans included, each handed back."""
    kinds = {"age": "FP32", "city": "BYTES", "visits": "INT64", "member": "BOOL"}
    return model(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds],
        [tensor(name, kind, (None, 1)) for name, kind in kinds.items()],
        [tensor(f"{name}_out", kind, (None, 1)) for name, kind in kinds.items()],
    )


def static_batch() -> ModelProto:
    """Takes exactly two rows."""
    return identity("FP32", (2, 3))


def gather() -> ModelProto:
    """Looks up table[index]: an index beyond 2 fails the whole run."""
    table = numpy_helper.from_array(np.array([10, 20, 30], np.float32), "table")
    return model(
        [helper.make_node("Gather", ["table", "index"], ["value"])],
        [tensor("index", "INT64", (None,))],
        [tensor("value", "FP32", (None,))],
        initializer=[table],
    )


def parse_number() -> ModelProto:
    """Casts strings to floats: a string that is no number fails the run."""
    return model(
        [helper.make_node("Cast", ["text"], ["number"], to=TensorProto.FLOAT)],
        [tensor("text", "BYTES", (None, 1))],
        [tensor("number", "FP32", (None, 1))],
    )


def centred() -> ModelProto:
    """Subtracts the batch's mean: rows depend on each other, so runs must not be shared."""
    return model(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        [tensor("x", "FP32", (None, 2))],
        [tensor("y", "FP32", (None, 2))],
    )


def centred_above(threshold: float = 100.0) -> ModelProto:
    """Subtracts what the batch's mean has above a threshold: small made-up rows do not show it."""
    limit = numpy_helper.from_array(np.array(threshold, np.float32), "limit")
    return model(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["mean", "limit"], ["over"]),
            helper.make_node("Relu", ["over"], ["positive"]),
            helper.make_node("Sub", ["x", "positive"], ["y"]),
        ],
        [tensor("x", "FP32", (None, 2))],
        [tensor("y", "FP32", (None, 2))],
        initializer=[limit],
    )


def heavy(products: int = 12, size: int = 256) -> ModelProto:
    """``y = sum(x) * size`` by multiplying matrices, ``products`` times: milliseconds of one core
    each. Takes one row alone."""
    identity = numpy_helper.from_array(np.eye(size, dtype=np.float32), "e")
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=1),
        helper.make_node("Mul", ["s", "e"], ["m0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"m{n}", "e"], [f"m{n + 1}"]) for n in range(products)]
    nodes.append(helper.make_node("ReduceSum", [f"m{products}"], ["y"], keepdims=1))
    return model(
        nodes,
        [tensor("x", "FP32", (1, 3))],
        [tensor("y", "FP32", (1, 1))],
        initializer=[identity],
    )


def product() -> ModelProto:
    """``c = a * b``: one row of either goes with many of the other."""
    return model(
        [helper.make_node("Mul", ["a", "b"], ["c"])],
        [tensor("a", "FP32", (None, 1)), tensor("b", "FP32", (None, 1))],
        [tensor("c", "FP32", (None, 1))],
    )


def side_by_side() -> ModelProto:
    """Two columns as one matrix; whether they are columns, its manifest need not say."""
    return model(
        [helper.make_node("Concat", ["a", "b"], ["c"], axis=1)],
        [tensor("a", "FP32", (None, 1)), tensor("b", "FP32", (None, 1))],
        [tensor("c", "FP32", (None, 2))],
    )


def bfloat16() -> ModelProto:
    """BF16 in and out."""
    return identity("BF16", (None, 2))


def manifest_of(
    graph: ModelProto,
    *,
    name: str = "m",
    task: Task = "unknown",
    columns: tuple[Column, ...] = (),
    golden: bytes | None = None,
) -> Manifest:
    """The manifest that the registry would make of a graph."""
    data = graph.SerializeToString()
    inputs, outputs = signature_of(graph)
    return Manifest(
        model=name,
        task=task,
        artifact=Blob(digest=sha256_digest(data), size=len(data)),
        golden=None if golden is None else Blob(digest=sha256_digest(golden), size=len(golden)),
        inputs=inputs,
        outputs=outputs,
        columns=columns,
        opsets={"": OPSET},
        ir_version=IR_VERSION,
    )


def golden_bytes(request: object, response: object) -> bytes:
    """A golden document."""
    return msgspec.json.encode({"request": request, "response": response})
