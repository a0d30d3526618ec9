"""Reading an ONNX graph: is it sound, can the pinned runtime run it, what goes in and out.

Runs in the inspection process alone. It and :mod:`registry.additive` are the only modules of the
registry that import ``onnx``.
"""

from collections.abc import Iterable, Iterator
from importlib.resources import files as resource_files

import msgspec
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import checker

from protocol.datatypes import DATATYPES, ONNX_ELEMENT_TYPES
from protocol.manifest import Tensor
from registry.additive import additive_outputs
from registry.inspect import Inspection, Job

DEFAULT_DOMAIN = "ai.onnx"
MAX_NAMED = 5
"""Operators named in one refusal."""
MAX_DIMENSIONS = 64
"""What an array can have in numpy."""
IR_OF_DEFAULTS = 4
"""From this version of the format on, an initializer of an input's name is the default of what a
caller may give; before it, every weight had to be listed among the inputs."""


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
    inputs, outputs = signature_of(model)
    _check_external_data(model, job.files)
    _check_with_checker(job.artifact)
    _check_runtime(model, supported_operators())
    return Inspection(
        inputs=inputs,
        outputs=outputs,
        opsets={opset.domain or DEFAULT_DOMAIN: opset.version for opset in model.opset_import},
        ir_version=model.ir_version,
        additive=additive_outputs(model),
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


def signature_of(model: onnx.ModelProto) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs. Raises :class:`Refused` for one that the protocol cannot carry."""
    inputs = tuple(_inputs(model))
    outputs = tuple(_tensor(value, "output") for value in model.graph.output)
    strings = [tensor.name[:80] for tensor in inputs if tensor.datatype == "BYTES"]
    bf16 = [tensor.name[:80] for tensor in outputs if tensor.datatype == "BF16"]
    if strings and bf16:
        raise Refused(
            f"input {strings[0]!r} is BYTES and output {bf16[0]!r} is BF16, which the runtime "
            "cannot do in one graph; cast the output inside the graph, to FP32 for example"
        )
    return inputs, outputs


def _inputs(model: onnx.ModelProto) -> Iterator[Tensor]:
    """What a request brings, and what it may bring: inputs with a default in the graph."""
    defaults = {tensor.name for tensor in model.graph.initializer}
    sparse = {tensor.values.name for tensor in model.graph.sparse_initializer}
    for value in model.graph.input:
        if value.name not in defaults | sparse:
            yield _tensor(value, "input")
        elif model.ir_version >= IR_OF_DEFAULTS and value.name not in sparse:
            element = value.type.tensor_type.elem_type
            if element in ONNX_ELEMENT_TYPES and value.type.tensor_type.HasField("shape"):
                yield msgspec.structs.replace(_tensor(value, "input"), optional=True)


def _tensor(value: onnx.ValueInfoProto, what: str) -> Tensor:
    name = value.name[:80]
    tensor_type, optional = value.type, False
    if tensor_type.WhichOneof("value") == "optional_type":
        tensor_type, optional = tensor_type.optional_type.elem_type, True
    kind = tensor_type.WhichOneof("value")
    if kind != "tensor_type":
        found = (kind or "no type").removesuffix("_type")
        if optional:
            found = f"optional {found}"
        hint = "; convert with zipmap=False" if kind in ("sequence_type", "map_type") else ""
        raise Refused(f"{what} {name!r} is of type {found}; only dense tensors can be served{hint}")
    element = tensor_type.tensor_type.elem_type
    datatype = ONNX_ELEMENT_TYPES.get(element)
    if datatype is None:
        known = onnx.TensorProto.DataType.values()
        label = onnx.TensorProto.DataType.Name(element) if element in known else str(element)
        raise Refused(
            f"{what} {name!r} has element type {label}, which cannot be served; cast it inside the "
            f"graph from or to one of {', '.join(DATATYPES)}"
        )
    shape, symbols = _shape(tensor_type.tensor_type, f"{what} {name!r}")
    return Tensor(
        name=value.name,
        datatype=datatype,
        shape=shape,
        optional=optional,
        symbols=symbols if any(symbols) else msgspec.UNSET,
    )


def _shape(
    tensor: onnx.TypeProto.Tensor, what: str
) -> tuple[tuple[int, ...], tuple[str | None, ...]]:
    """Sizes, -1 for those that may vary, and the names that the graph gives them."""
    if not tensor.HasField("shape"):
        raise Refused(
            f"{what} declares no shape; declare one, with a name or nothing for each dimension "
            "that may vary"
        )
    dimensions = tensor.shape.dim
    if len(dimensions) > MAX_DIMENSIONS:
        raise Refused(f"{what} has {len(dimensions)} dimensions; {MAX_DIMENSIONS} can be served")
    sizes = tuple(
        max(dimension.dim_value, -1) if dimension.WhichOneof("value") == "dim_value" else -1
        for dimension in dimensions
    )
    return sizes, tuple(dimension.dim_param or None for dimension in dimensions)


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
