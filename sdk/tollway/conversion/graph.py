"""Give a converted graph its agreed face: names, types, a named batch dimension."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper

from tollway.conversion.types import TensorSpec

ELEMENT_TYPES: dict[str, int] = {
    "FP32": TensorProto.FLOAT, "UINT8": TensorProto.UINT8, "INT8": TensorProto.INT8,
    "UINT16": TensorProto.UINT16, "INT16": TensorProto.INT16, "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64, "BYTES": TensorProto.STRING, "BOOL": TensorProto.BOOL,
    "FP16": TensorProto.FLOAT16, "FP64": TensorProto.DOUBLE, "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
}  # fmt: skip
DATATYPES: dict[int, str] = {element: name for name, element in ELEMENT_TYPES.items()}

BATCH = "batch"
"""Name of the dynamic first dimension of every input and output."""


@dataclass(frozen=True)
class Output:
    """How one raw output of the converter becomes an output of the deployed graph."""

    raw: str
    name: str
    column: int | None = None
    """Take only this column of a matrix."""
    width: int | None = None
    """Columns of a matrix; None: one value per row."""
    reshape: bool = False


def _rename(graph: GraphProto, mapping: Mapping[str, str]) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name in mapping:
                    names[i] = mapping[name]
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _rename(attribute.g, mapping)
    for initializer in graph.initializer:
        initializer.name = mapping.get(initializer.name, initializer.name)
    for value in (*graph.value_info, *graph.input, *graph.output):
        value.name = mapping.get(value.name, value.name)


def _names(graph: GraphProto) -> set[str]:
    values = (*graph.input, *graph.output, *graph.initializer)
    names = {value.name for value in values}
    for node in graph.node:
        names.update(node.input)
        names.update(node.output)
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                names |= _names(attribute.g)
    return names - {""}


def with_inputs(model: ModelProto, raw: Sequence[str], specs: Sequence[TensorSpec]) -> ModelProto:
    """Rename the converter's inputs ``raw`` to ``specs`` and cast where the types differ.

    Everything inside the graph moves out of the way of the agreed names.
    """
    changed = ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    inside = {name: f"_{name}" for name in _names(graph)}
    _rename(graph, inside)
    element = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    del graph.input[:]
    del graph.value_info[:]
    casts: list[onnx.NodeProto] = []
    direct: dict[str, str] = {}
    agreed: list[onnx.ValueInfoProto] = []
    for old, spec in zip(raw, specs, strict=True):
        wanted = ELEMENT_TYPES[spec["datatype"]]
        shape: list[str | int | None] = [BATCH, *spec["shape"][1:]]
        agreed.append(helper.make_tensor_value_info(spec["name"], wanted, shape))
        if wanted == element[inside[old]]:
            direct[inside[old]] = spec["name"]
        else:
            casts.append(
                helper.make_node("Cast", [spec["name"]], [inside[old]], to=element[inside[old]])
            )
    _rename(graph, direct)
    graph.input.extend(agreed)
    for i, node in enumerate(casts):
        graph.node.insert(i, node)
    return changed


def with_outputs(model: ModelProto, plan: Iterable[Output], types: Mapping[str, int]) -> ModelProto:
    """Keep the outputs of ``plan`` under their agreed names; drop whatever nothing needs then.

    ``types`` holds the element type of each raw output as ONNX Runtime gives it.
    """
    changed = ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    raw_outputs = [value.name for value in graph.output]
    del graph.output[:]
    for output in plan:
        assert output.raw in raw_outputs
        value = output.raw
        if output.column is not None:
            value = _node(graph, "Gather", value, np.asarray(output.column), output.name)
            graph.node[-1].attribute.append(helper.make_attribute("axis", 1))
        if output.reshape:
            shape = [-1] if output.width is None else [-1, output.width]
            value = _node(graph, "Reshape", value, np.asarray(shape), output.name)
        _publish(graph, value, output.name)
        dims: list[str | int | None] = [BATCH]
        if output.width is not None:
            dims.append(output.width)
        info = helper.make_tensor_value_info(output.name, types[output.raw], dims)
        graph.output.append(info)
    _drop_unused(graph)
    used = {node.domain for node in graph.node} | _subgraph_domains(graph)
    kept = [o for o in changed.opset_import if o.domain in used or o.domain == ""]
    del changed.opset_import[:]
    changed.opset_import.extend(kept)
    graph.name = "tollway"
    changed.producer_name = "tollway"
    onnx.checker.check_model(changed)
    return changed


def _node(graph: GraphProto, op: str, value: str, constant: npt.NDArray[Any], name: str) -> str:
    tensor = numpy_helper.from_array(constant.astype(np.int64), name=f"_{name}_{op.lower()}")
    graph.initializer.append(tensor)
    result = f"_{name}_{op.lower()}ed"
    graph.node.append(helper.make_node(op, [value, tensor.name], [result]))
    return result


def _publish(graph: GraphProto, value: str, name: str) -> None:
    produced = any(value in node.output for node in graph.node)
    taken = any(out.name == value for out in graph.output)
    if produced and not taken:
        _rename(graph, {value: name})
    else:
        graph.node.append(helper.make_node("Identity", [value], [name]))


def _drop_unused(graph: GraphProto) -> None:
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
            for attribute in node.attribute:
                if attribute.type == AttributeProto.GRAPH:
                    needed |= _names(attribute.g)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def _subgraph_domains(graph: GraphProto) -> set[str]:
    found: set[str] = set()
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                found |= {inner.domain for inner in attribute.g.node}
                found |= _subgraph_domains(attribute.g)
    return found


def has_zip_map(model: ModelProto) -> bool:
    """Whether a ZipMap node is left: its maps cannot be served as tensors."""
    return any(node.op_type == "ZipMap" for node in model.graph.node)


def interface(model: ModelProto) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of a graph as Open Inference Protocol tensors (-1: dynamic)."""
    initialized = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initialized]
    return [_spec(value) for value in inputs], [_spec(value) for value in model.graph.output]


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
    return TensorSpec(
        name=value.name, datatype=DATATYPES.get(tensor.elem_type, "UNKNOWN"), shape=shape
    )
