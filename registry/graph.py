"""Reading an ONNX graph: is it sound, can the pinned runtime run it, what goes in and out.

Runs in the inspection process alone, and is the only module of the registry that imports ``onnx``.
"""

from collections.abc import Iterable, Iterator
from importlib.resources import files as resource_files

import msgspec
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import checker

from protocol.datatypes import ONNX_ELEMENT_TYPES
from protocol.manifest import Tensor
from registry.inspect import Inspection, Job

DEFAULT_DOMAIN = "ai.onnx"
MAX_NAMED = 5
"""Operators named in one refusal."""


class Refused(Exception):  # noqa: N818 -- a decision, not an error
    """The bundle cannot be served; the text says why."""


class Operators(msgspec.Struct, frozen=True, kw_only=True):
    """What the pinned runtime can run: ``operators.json``, generated from the runtime itself."""

    runtime: str
    ir_version: int
    """Newest version of the file format."""
    opsets: dict[str, int]
    """Domain -> newest opset."""
    operators: dict[str, dict[str, list[tuple[int, int]]]]
    """Domain -> operator -> ranges of opsets, ends included, in which it can be run."""


def supported_operators() -> Operators:
    """The table that belongs to the pinned runtime."""
    data = resource_files("registry").joinpath("operators.json").read_bytes()
    return msgspec.json.decode(data, type=Operators)


def inspect_graph(job: Job) -> Inspection:
    """Inspect the artifact. Raises :class:`Refused`."""
    model = _parsed(job.artifact)
    # Before the checker, whose words for the same things do not say what to do.
    inputs = tuple(_tensor(value, "input") for value in _true_inputs(model))
    outputs = tuple(_tensor(value, "output") for value in model.graph.output)
    _check_external_data(model, job.files)
    _check_with_checker(job.artifact)
    _check_runtime(model, supported_operators())
    return Inspection(
        inputs=inputs,
        outputs=outputs,
        opsets={opset.domain or DEFAULT_DOMAIN: opset.version for opset in model.opset_import},
        ir_version=model.ir_version,
    )


def _parsed(path: str) -> onnx.ModelProto:
    try:
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except DecodeError:
        raise Refused("the artifact is not an ONNX model: it cannot be parsed") from None
    if not model.HasField("graph") or model.ir_version == 0 or not model.opset_import:
        raise Refused(
            "the artifact is not an ONNX model: it has no graph, IR version or opset import"
        )
    return model


def _check_with_checker(path: str) -> None:
    try:
        checker.check_model(path)
    except checker.ValidationError as error:
        reason = str(error).replace(path, "model.onnx").split("\n\n==> Context")[0].strip()
        raise Refused(f"the ONNX checker refuses the model: {reason}") from None


def _check_external_data(model: onnx.ModelProto, files: dict[str, int]) -> None:
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        where = f"tensor {tensor.name[:80]!r} keeps its data in {location[:200]!r}"
        parts = location.split("/")
        if location.startswith("/") or ".." in parts or "\\" in location or ":" in location:
            raise Refused(f"{where}, which is outside of the bundle")
        if location not in files:
            raise Refused(f"{where}, which is not among the files of the version")
        try:
            end = int(entries.get("offset", "0")) + int(entries.get("length", "0"))
        except ValueError:
            raise Refused(f"{where} at an offset or length that is not a number") from None
        if end > files[location]:
            raise Refused(f"{where}, which ends before the tensor does")


def _check_runtime(model: onnx.ModelProto, table: Operators) -> None:
    if model.ir_version > table.ir_version:
        raise Refused(
            f"the model has IR version {model.ir_version}; onnxruntime {table.runtime} reads up to "
            f"{table.ir_version}. Save it with an older IR version"
        )
    own = {(function.domain, function.name) for function in model.functions}
    lacking: set[str] = set()
    for nodes, imports in _node_lists(model):
        opsets = {opset.domain or DEFAULT_DOMAIN: opset.version for opset in imports}
        for domain, version in opsets.items():
            newest = table.opsets.get(domain)
            if newest is not None and version > newest:
                raise Refused(
                    f"the model uses opset {version} of {domain}; onnxruntime {table.runtime} has "
                    f"up to {newest}. Convert it with target opset {newest} or older"
                )
        for node in _nested(nodes):
            if (node.domain, node.op_type) in own:
                continue
            domain = node.domain or DEFAULT_DOMAIN
            version = opsets.get(domain, 0)
            ranges = table.operators.get(domain, {}).get(node.op_type, [])
            if not any(first <= version <= last for first, last in ranges):
                lacking.add(f"{domain}.{node.op_type} (opset {version})")
    if lacking:
        shown = ", ".join(sorted(lacking)[:MAX_NAMED])
        more = f" and {len(lacking) - MAX_NAMED} more" if len(lacking) > MAX_NAMED else ""
        raise Refused(f"onnxruntime {table.runtime} lacks operators of the model: {shown}{more}")


def _true_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Inputs that a request must bring: those without a default among the initializers."""
    defaults = {tensor.name for tensor in model.graph.initializer}
    defaults |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    return [value for value in model.graph.input if value.name not in defaults]


def _tensor(value: onnx.ValueInfoProto, what: str) -> Tensor:
    kind = value.type.WhichOneof("value")
    name = value.name[:80]
    if kind != "tensor_type":
        found = (kind or "no type").removesuffix("_type")
        hint = "; convert with zipmap=False" if found in ("sequence", "map") else ""
        raise Refused(f"{what} {name!r} is of type {found}; only dense tensors can be served{hint}")
    element = value.type.tensor_type.elem_type
    datatype = ONNX_ELEMENT_TYPES.get(element)
    if datatype is None:
        known = onnx.TensorProto.DataType.values()
        label = onnx.TensorProto.DataType.Name(element) if element in known else str(element)
        raise Refused(f"{what} {name!r} has element type {label}, which cannot be served")
    return Tensor(name=value.name, datatype=datatype, shape=_shape(value, what))


def _shape(value: onnx.ValueInfoProto, what: str) -> tuple[int, ...]:
    if not value.type.tensor_type.HasField("shape"):
        raise Refused(
            f"{what} {value.name[:80]!r} declares no shape; declare one, with a name or nothing "
            "for each dimension that may vary"
        )
    return tuple(
        dimension.dim_value if dimension.WhichOneof("value") == "dim_value" else -1
        for dimension in value.type.tensor_type.shape.dim
    )


def _node_lists(
    model: onnx.ModelProto,
) -> Iterator[tuple[Iterable[onnx.NodeProto], Iterable[onnx.OperatorSetIdProto]]]:
    yield model.graph.node, model.opset_import
    for function in model.functions:
        yield function.node, function.opset_import or model.opset_import


def _nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for graph in _subgraphs(node):
            yield from _nested(graph.node)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor that can have external data, wherever it hides."""
    graphs = [model.graph]
    for nodes, _ in _node_lists(model):
        for node in _nested(nodes):
            graphs += _subgraphs(node)
            for attribute in node.attribute:
                yield attribute.t
                yield from attribute.tensors
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
