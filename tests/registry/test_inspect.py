"""Inspection: what the graph says, what is refused and why, and that its cage holds."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from protocol.datatypes import ONNX_ELEMENT_TYPES
from protocol.errors import Code, TollwayError
from protocol.manifest import Tensor
from registry import graph
from registry.inspect import Inspection, Job, inspect_bundle
from tests.registry import models_onnx
from tests.registry.models_onnx import EXTERNAL_WEIGHTS, one_node, with_external_weights

Inspected = Callable[..., Inspection]


@pytest.fixture
def inspected(tmp_path: Path) -> Inspected:
    """Inspects a model in this process; the cage has tests of its own below."""

    def inspect(model: onnx.ModelProto | bytes, **files: bytes) -> Inspection:
        data = model if isinstance(model, bytes) else model.SerializeToString()
        artifact = tmp_path / "model.onnx"
        artifact.write_bytes(data)
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        sizes = {name: len(content) for name, content in files.items()}
        return graph.inspect_graph(
            Job(artifact=str(artifact), files=sizes, memory_bytes=0, cpu_s=0)
        )

    return inspect


@pytest.mark.parametrize("element", sorted(ONNX_ELEMENT_TYPES))
def test_every_element_type_of_the_protocol_is_recognised(
    inspected: Inspected, element: int
) -> None:
    found = inspected(one_node("Identity", element=element))
    expected = Tensor(name="x", datatype=ONNX_ELEMENT_TYPES[element], shape=(-1, 1))
    assert found.inputs == (expected,)


UNKNOWN = sorted(set(TensorProto.DataType.values()) - set(ONNX_ELEMENT_TYPES))


@pytest.mark.parametrize("element", UNKNOWN, ids=map(TensorProto.DataType.Name, UNKNOWN))
def test_other_element_types_are_refused_with_the_way_out(
    inspected: Inspected, element: int
) -> None:
    name = TensorProto.DataType.Name(element)
    with pytest.raises(graph.Refused, match="cast it inside the graph") as refused:
        inspected(one_node("Identity", element=element))
    assert f"'x' has element type {name}, which" in str(refused.value).replace("'y'", "'x'")


def typed(value_type: onnx.TypeProto) -> onnx.ModelProto:
    """The identity of something that is not a tensor."""
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_value_info(name, value_type) for name in ("x", "y")]
    return models_onnx.model_of(helper.make_graph([node], "g", values[:1], values[1:]))


def test_sequences_and_maps_are_refused_with_the_way_out(inspected: Inspected) -> None:
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, [None])
    mapped = helper.make_map_type_proto(TensorProto.INT64, tensor)
    for value_type, name in (
        (helper.make_sequence_type_proto(tensor), "sequence"),
        (helper.make_sequence_type_proto(mapped), "sequence"),
        (mapped, "map"),
        (
            helper.make_optional_type_proto(helper.make_sequence_type_proto(tensor)),
            "optional sequence",
        ),
        (helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, [2]), "sparse_tensor"),
    ):
        with pytest.raises(graph.Refused, match=f"of type {name}") as refused:
            inspected(typed(value_type))
        assert ("zipmap=False" in str(refused.value)) == (name != "sparse_tensor")


def test_an_optional_tensor_is_recognised(inspected: Inspected) -> None:
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, [None, 2])
    found = inspected(typed(helper.make_optional_type_proto(tensor)))
    assert found.inputs == (Tensor(name="x", datatype="FP32", shape=(-1, 2), optional=True),)


def test_dimensions_without_a_number_are_dynamic(inspected: Inspected) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", None, 3]) for name in "xy"
    ]
    found = inspected(models_onnx.model_of(helper.make_graph([node], "g", values[:1], values[1:])))
    assert found.inputs[0].shape == found.outputs[0].shape == (-1, -1, 3)
    assert found.inputs[0].symbols == ("n", None, None)


def test_strings_in_and_bf16_out_are_refused_because_the_runtime_cannot(
    inspected: Inspected,
) -> None:
    kinds = {"x": TensorProto.STRING, "y": TensorProto.BFLOAT16}
    nodes = [helper.make_node("Identity", [name], [name * 2]) for name in kinds]
    inputs, outputs = (
        [helper.make_tensor_value_info(name * times, kind, [1]) for name, kind in kinds.items()]
        for times in (1, 2)
    )
    with pytest.raises(graph.Refused, match="input 'x' is BYTES and output 'yy' is BF16"):
        inspected(models_onnx.model_of(helper.make_graph(nodes, "g", inputs, outputs)))


def test_a_negative_size_is_a_dynamic_dimension(inspected: Inspected) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [-5, 3]) for name in "xy"]
    found = inspected(models_onnx.model_of(helper.make_graph([node], "g", values[:1], values[1:])))
    assert found.inputs == (Tensor(name="x", datatype="FP32", shape=(-1, 3)),)


def test_more_dimensions_than_an_array_can_have_are_refused(inspected: Inspected) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1] * 65) for name in "xy"]
    with pytest.raises(graph.Refused, match="has 65 dimensions; 64 can be served"):
        inspected(models_onnx.model_of(helper.make_graph([node], "g", values[:1], values[1:])))


@pytest.mark.parametrize("what", ["input", "output"])
def test_a_tensor_without_a_rank_is_refused(inspected: Inspected, what: str) -> None:
    model = one_node("Identity")
    getattr(model.graph, what)[0].type.tensor_type.ClearField("shape")
    with pytest.raises(graph.Refused, match=rf"{what} .* declares no shape"):
        inspected(model)


@pytest.mark.parametrize(("ir_version", "optional"), [(3, []), (4, ["weights"])])
def test_an_input_with_a_default_is_optional_where_the_format_knows_defaults(
    inspected: Inspected, ir_version: int, optional: list[str]
) -> None:
    model = models_onnx.linear(opset=8)
    model.ir_version = ir_version
    model.graph.input.append(helper.make_tensor_value_info("weights", TensorProto.FLOAT, [3, 1]))
    inputs = inspected(model).inputs
    assert [tensor.name for tensor in inputs if not tensor.optional] == ["input"]
    assert [tensor.name for tensor in inputs if tensor.optional] == optional


def test_an_opset_that_the_runtime_lacks_is_refused(inspected: Inspected) -> None:
    newest = graph.supported_operators().opsets["ai.onnx"]
    with pytest.raises(graph.Refused, match=r"opset|Opset"):
        inspected(one_node("Identity", opset=newest + 1))
    model = one_node("Identity")
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 99))
    with pytest.raises(graph.Refused):
        inspected(model)


def test_an_operator_that_the_runtime_lacks_is_named(inspected: Inspected) -> None:
    with pytest.raises(graph.Refused, match=r"lacks .*com\.example\.Magic \(opset 1\)"):
        inspected(one_node("Magic", domain="com.example"))


def test_an_operator_that_hides_in_a_branch_is_found(inspected: Inspected) -> None:
    branch = helper.make_graph(
        [helper.make_node("Magic", ["x"], ["z"], domain="com.example")],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [None, 1])],
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    model = models_onnx.model_of(
        helper.make_graph(
            [node],
            "g",
            [
                helper.make_tensor_value_info("c", TensorProto.BOOL, []),
                helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1]),
            ],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        ),
        imports={"": 17, "com.example": 1},
    )
    with pytest.raises(graph.Refused, match="Magic"):
        inspected(model)


def test_a_function_that_the_model_brings_along_is_supported(inspected: Inspected) -> None:
    model = one_node("Magic", domain="com.example")
    model.functions.append(
        helper.make_function(
            "com.example",
            "Magic",
            ["a"],
            ["b"],
            [helper.make_node("Identity", ["a"], ["b"])],
            [helper.make_opsetid("", 17)],
        )
    )
    assert inspected(model).inputs[0].name == "x"
    model.functions[0].node[0].op_type = "NoSuchOperator"
    with pytest.raises(graph.Refused, match="NoSuchOperator"):
        inspected(model)


def test_a_file_format_newer_than_the_runtime_s_is_refused(inspected: Inspected) -> None:
    model = models_onnx.linear()
    model.ir_version = 999
    with pytest.raises(graph.Refused):
        inspected(model)


def test_external_data_inside_the_bundle_is_accepted(inspected: Inspected) -> None:
    found = inspected(with_external_weights("weights.bin"), **{"weights.bin": EXTERNAL_WEIGHTS})
    assert found.inputs[0].name == "input"


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../weights.bin", "a/../../weights.bin", "..", "C:weights.bin", "..\\w", ""],
)
def test_external_data_that_leaves_the_bundle_is_refused(
    inspected: Inspected, location: str
) -> None:
    with pytest.raises(graph.Refused, match=r"outside of the bundle|not among the files"):
        inspected(with_external_weights(location), **{"weights.bin": EXTERNAL_WEIGHTS})


def test_external_data_that_was_not_sent_or_ends_too_early_is_refused(inspected: Inspected) -> None:
    with pytest.raises(graph.Refused, match="not among the files"):
        inspected(with_external_weights("other.bin"), **{"weights.bin": EXTERNAL_WEIGHTS})
    for entries in ({"offset": "8", "length": "12"}, {"length": "999"}, {"offset": "x"}):
        with pytest.raises(graph.Refused, match=r"ends before|not a number"):
            inspected(
                with_external_weights("weights.bin", **entries),
                **{"weights.bin": EXTERNAL_WEIGHTS},
            )


def test_external_data_in_a_node_s_attribute_is_looked_at_too(inspected: Inspected) -> None:
    value = with_external_weights("/etc/passwd").graph.initializer[0]
    node = helper.make_node("Constant", [], ["y"], value=value)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 1])
    with pytest.raises(graph.Refused, match="outside of the bundle"):
        inspected(models_onnx.model_of(helper.make_graph([node], "g", [], [y])))


def test_the_cage_answers_as_the_inspection_does(tmp_path: Path, inspected: Inspected) -> None:
    expected = inspected(models_onnx.linear())
    found = inspect_bundle(tmp_path / "model.onnx", {}, timeout_s=60, memory_bytes=1 << 31)
    assert found == expected


def test_a_model_that_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    artifact = tmp_path / "model.onnx"
    artifact.write_bytes(models_onnx.linear().SerializeToString())
    with pytest.raises(TollwayError) as refused:
        inspect_bundle(artifact, {}, timeout_s=60, memory_bytes=50 << 20)
    assert refused.value.code is Code.INVALID_MODEL
    assert "memory" in refused.value.public


def test_an_inspection_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    artifact = tmp_path / "model.onnx"
    artifact.write_bytes(models_onnx.linear().SerializeToString())
    with pytest.raises(TollwayError, match="took longer") as refused:
        inspect_bundle(artifact, {}, timeout_s=0.01, memory_bytes=1 << 31)
    assert refused.value.code is Code.INVALID_MODEL


def test_a_bundle_cannot_bring_code_into_the_inspection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = tmp_path / "model.onnx"
    artifact.write_bytes(models_onnx.linear().SerializeToString())
    for name in ("onnx.py", "msgspec.py", "sitecustomize.py"):
        (tmp_path / name).write_text("raise SystemExit('code of the bundle was run')")
    monkeypatch.chdir(tmp_path)
    assert inspect_bundle(artifact, {}, timeout_s=60, memory_bytes=1 << 31).ir_version == 8


def test_the_control_process_loads_neither_onnx_nor_numpy() -> None:
    program = (
        "import sys, registry.routes, registry.service, registry.blobstore_local\n"
        "heavy = {'onnx', 'numpy', 'onnxruntime', 'google.protobuf', 'obstore'}\n"
        "loaded = heavy & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(loaded)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
