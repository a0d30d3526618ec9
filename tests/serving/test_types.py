"""Every type and shape that the protocol carries, against the runtime itself."""

import json
from collections.abc import Callable
from functools import cache
from struct import pack
from typing import Any

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from protocol.datatypes import DATATYPES, NUMPY_NAMES
from protocol.frames import NO_HEADER, Operation
from serving.tensors import MAX_EMPTY, Array
from tests.serving import models
from tests.serving.conftest import MakeRig
from tests.serving.models import Shape, tensor
from tests.serving.rig import Rig, one_input
from tests.serving.test_v2_json import VALUES

EXTREMES: dict[str, list[Any]] = {
    **VALUES,
    "FP16": [-0.0, 6e-8, 65504.0, float("nan"), float("inf"), float("-inf")],
    "FP32": [-0.0, 1e-45, 3.4028234663852886e38, float("nan"), float("inf"), 0.1],
    "FP64": [-0.0, 5e-324, 1.7976931348623157e308, float("nan"), float("-inf"), 0.1],
    "BYTES": ["", "\0", "a\0b", "é\u2028", "\U0001f600", '"\\', "long" * 30_000],
    "BF16": [0, 0x8000, 0x3F80, 0x7F80, 0x7FC1, 0xFFFF],
}
SHAPES: list[tuple[Shape, list[int]]] = [
    ((), []),
    ((None,), [0]),
    ((None,), [3]),
    ((2,), [2]),
    (("rows", 3), [0, 3]),
    (("rows", 3), [2, 3]),
    (("rows", "columns"), [2, 0]),
    ((None, 0), [2, 0]),
    ((2, None), [2, 2]),
    (("n", "n"), [2, 2]),
    ((None, 1, None, 2), [2, 1, 3, 2]),
    ((None, 2, None), [1, 2, 0]),
    ((None,) * 8, [1, 1, 2, 1, 1, 2, 1, 1]),
]


def values_of(datatype: str, shape: list[int]) -> Array:
    """The type's extremes, repeated, in a shape."""
    count = int(np.prod(shape, dtype=np.int64))
    some = (EXTREMES[datatype] * (count // len(EXTREMES[datatype]) + 1))[:count]
    array: Array = np.empty(count, NUMPY_NAMES.get(datatype, "uint16"))
    array[:] = some
    return array.reshape(shape)


def on_the_wire(array: Array) -> bytes:
    """As the binary extension has it, written independently of the code that is tested."""
    if array.dtype != object:
        return array.astype(array.dtype.newbyteorder("<")).tobytes()
    encoded = [text.encode() for text in array.reshape(-1).tolist()]
    return b"".join(pack("<I", len(text)) + text for text in encoded)


def two_outputs(datatype: str, shape: Shape) -> ModelProto:
    """``y = x`` and ``size = shape(x)``."""
    return models.model(
        [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Shape", ["x"], ["size"])],
        [tensor("x", datatype, shape)],
        [tensor("y", datatype, shape), tensor("size", "INT64", (len(shape),))],
    )


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Shape], Rig]:
    """Rigs around :func:`two_outputs`."""

    @cache
    def make(datatype: str, shape: Shape) -> Rig:
        return Rig(two_outputs(datatype, shape), tmp_path_factory.mktemp("typed"))

    return make


def binary(array: Array, datatype: str, pad: int = 0, **more: Any) -> tuple[bytes, int]:
    """A body with one binary tensor, ``pad`` blanks in its header, and the header's length."""
    return binaries({"x": array}, {"x": datatype}, pad, **more)


def binaries(
    arrays: dict[str, Array], datatypes: dict[str, str] | None = None, pad: int = 0, **more: Any
) -> tuple[bytes, int]:
    """The same with several tensors; one that has no datatype is named after it."""
    data = {name: on_the_wire(array) for name, array in arrays.items()}
    inputs = [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": (datatypes or {}).get(name, name),
            "parameters": {"binary_data_size": len(data[name])},
        }
        for name, array in arrays.items()
    ]
    header = json.dumps({"inputs": inputs, **more}).encode() + b" " * pad
    return header + b"".join(data.values()), len(header)


def parts(answer: bytes, header: int) -> dict[str, tuple[list[int], bytes]]:
    """Shape and bytes of each binary output."""
    found, at = {}, header
    for output in json.loads(answer[:header])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = (output["shape"], answer[at : at + size])
        at += size
    assert at == len(answer)
    return found


@pytest.mark.parametrize(("declared", "shape"), SHAPES, ids=str)
@pytest.mark.parametrize("datatype", DATATYPES)
def test_binary_is_exact_in_every_bit(
    typed: Callable[[str, Shape], Rig], datatype: str, declared: Shape, shape: list[int]
) -> None:
    made, array = typed(datatype, declared), values_of(datatype, shape)
    expected = {
        "y": (shape, on_the_wire(array)),
        "size": (([len(shape)]), on_the_wire(np.array(shape, np.int64))),
    }
    if datatype != "BF16":
        run = ort.InferenceSession(two_outputs(datatype, declared).SerializeToString()).run
        y, size = run(None, {"x": array})
        assert expected == {
            "y": (list(y.shape), on_the_wire(y)),
            "size": (list(size.shape), on_the_wire(size)),
        }
    for pad in range(3):  # wherever the tensor begins in memory
        body, length = binary(array, datatype, pad, parameters={"binary_data_output": True})
        status, answer, header = made.ask(body, header=length)
        assert status == 200, answer
        assert parts(answer, header) == expected


@pytest.mark.parametrize(("declared", "shape"), SHAPES, ids=str)
@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name != "BF16"])
def test_json_is_exact_but_for_what_is_not_finite(
    typed: Callable[[str, Shape], Rig], datatype: str, declared: Shape, shape: list[int]
) -> None:
    made, array = typed(datatype, declared), values_of(datatype, shape)
    flat = array.reshape(-1).tolist()
    expected = [None if isinstance(v, float) and not np.isfinite(v) else v for v in flat]
    for data in (flat, array.tolist() if shape else flat):
        body = json.dumps(one_input(data, shape, datatype)).encode()
        status, answer, length = made.ask(body)
        assert (status, length) == (200, NO_HEADER), answer
        y, size = json.loads(answer)["outputs"]
        assert y == {"name": "y", "datatype": datatype, "shape": shape, "data": expected}
        assert size["data"] == shape


@pytest.mark.parametrize(("declared", "shape"), SHAPES, ids=str)
@pytest.mark.parametrize("datatype", DATATYPES)
def test_a_raw_body_is_taken_where_its_shape_follows_from_its_size(
    typed: Callable[[str, Shape], Rig], datatype: str, declared: Shape, shape: list[int]
) -> None:
    data = on_the_wire(values_of(datatype, shape))
    status, answer, header = typed(datatype, declared).ask(data, header=0)
    varying = sum(not isinstance(size, int) for size in declared)
    known = datatype != "BYTES" and (not varying or (varying == 1 and len(data) > 0))
    if known:
        assert status == 200, answer
        assert parts(answer, header)["y"] == (shape, data)
    else:
        assert status in (200, 400)


@pytest.mark.parametrize(("declared", "shape"), SHAPES, ids=str)
@pytest.mark.parametrize("datatype", DATATYPES)
def test_v1_carries_whole_tensors_of_all_that_has_a_json_form(
    typed: Callable[[str, Shape], Rig], datatype: str, declared: Shape, shape: list[int]
) -> None:
    made, array = typed(datatype, declared), values_of(datatype, shape)
    nested = array.tolist()
    body = json.dumps({"inputs": {"x": nested}}).encode()
    status, answer, _ = made.ask(body, Operation.V1_PREDICT)
    if datatype == "BF16":
        assert (status, b"has no JSON form: use V2 with binary data" in answer) == (400, True)
    elif 0 in shape[:-1]:
        assert status in (200, 400)  # [] does not say what would be in it
    else:
        assert status == 200, answer
        finite = json.loads(json.dumps(nested).replace("-Infinity", "null"), parse_constant=_null)
        assert json.loads(answer)["outputs"]["y"] == finite


def _null(_: str) -> None:
    return None


@pytest.mark.parametrize("datatype", [name for name in NUMPY_NAMES if "INT" in name])
def test_an_integer_out_of_bounds_is_named_by_its_index(rig: MakeRig, datatype: str) -> None:
    made, info = rig(models.identity(datatype)), np.iinfo(NUMPY_NAMES[datatype])
    for bad in (int(info.max) + 1, int(info.min) - 1, 10**400):
        for data in ([0, 1, 0, 0, bad, 0], [[0, 1, 0], [0, bad, 0]]):
            error = made.refused(one_input(data, [2, 3], datatype))
            place = "[4]" if data[0] == 0 else "[1][1]"
            assert error.startswith(f"input 'x' data{place}: ")
            assert error.endswith(f"is out of range for {datatype}")


@pytest.mark.parametrize(
    ("datatype", "bad"), [("FP16", 65520), ("FP16", -1e300), ("FP32", 1e39), ("FP64", 10**309)]
)
def test_a_float_out_of_bounds_is_named_by_its_index(
    rig: MakeRig, datatype: str, bad: float
) -> None:
    error = rig(models.identity(datatype)).refused(one_input([0, 1, bad], [1, 3], datatype))
    assert "out of range" in error


def test_bf16_has_no_json_form_in_any_request(rig: MakeRig) -> None:
    cast = models.model(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        [tensor("x", "BF16", (None,))],
        [tensor("y", "FP32", (None,))],
    )
    made = rig(cast)
    body = json.dumps(one_input([1], [1], "BF16")).encode()
    told = b"input 'x' data[0]: BF16 has no JSON form: send it as binary"
    assert made.ask(body) == (400, told + b", over V2", NO_HEADER)
    assert made.ask(body, header=len(body))[:2] == (400, told + b", over V2")
    for request in ({"instances": [1]}, {"inputs": [1]}, {"inputs": {"x": [1]}}):
        assert "BF16 has no JSON form" in made.predict_refused(request)
    body, length = binary(values_of("BF16", [6]), "BF16")
    status, answer, _ = made.ask(body, header=length)
    assert (status, json.loads(answer)["outputs"][0]["data"][2]) == (200, 1.0)


@pytest.mark.parametrize("lacking", ["BF16 output", "BYTES"])
def test_bf16_goes_along_with_every_other_type(rig: MakeRig, lacking: str) -> None:
    taken = [name for name in DATATYPES if name != lacking]
    given = [name for name in taken if f"{name} output" != lacking]
    made = rig(
        models.model(
            [helper.make_node("Identity", [name], [f"{name}_out"]) for name in given],
            [tensor(name, name, (None, 2)) for name in taken],
            [tensor(f"{name}_out", name, (None, 2)) for name in given],
        )
    )
    for rows in (0, 3):
        tensors = {name: values_of(name, [rows, 2]) for name in taken}
        body, length = binaries(tensors, parameters={"binary_data_output": True})
        status, answer, header = made.ask(body, header=length)
        assert status == 200, answer
        assert parts(answer, header) == {
            f"{name}_out": ([rows, 2], on_the_wire(tensors[name])) for name in given
        }


# dimensions of one name


def joined(first: Shape, second: Shape) -> ModelProto:
    """Hands back two inputs, whatever their shapes."""
    return models.model(
        [helper.make_node("Identity", [name], [name + name]) for name in "ab"],
        [tensor("a", "FP32", first), tensor("b", "FP32", second)],
        [tensor("aa", "FP32", first), tensor("bb", "FP32", second)],
    )


def of_shapes(first: list[int], second: list[int]) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": name, "shape": shape, "datatype": "FP32", "data": [0] * int(np.prod(shape))}
            for name, shape in (("a", first), ("b", second))
        ]
    }


def test_dimensions_of_one_name_must_agree(rig: MakeRig) -> None:
    made = rig(joined(("rows", "n"), ("n", 2)))
    assert len(made.infer(of_shapes([1, 3], [3, 2]))["outputs"]) == 2
    told = "dimension 'n' is 3 in input 'a' shape[1] but 4 in input 'b' shape[0]"
    request = of_shapes([1, 3], [4, 2])
    assert made.refused(request) == told
    assert made.refused({"inputs": request["inputs"][::-1]}) == told
    columns = {"a": [[0.0] * 3], "b": [[0.0] * 2] * 4}
    assert made.predict_refused({"inputs": columns}) == told
    assert rig(joined((None, None), (None, 2))).infer(request)


def test_one_name_twice_in_one_input_must_agree_too(rig: MakeRig) -> None:
    told = "dimension 'n' is 2 in input 'x' shape[0] but 3 in input 'x' shape[1]"
    made = rig(models.identity("FP32", ("n", "n")))
    assert made.refused(one_input([0] * 6, [2, 3])) == told
    body, length = binary(np.zeros((2, 3), np.float32), "FP32")
    assert made.ask(body, header=length)[:2] == (400, told.encode())


# empty tensors


@pytest.mark.parametrize("shape", [[0, 2**62], [2**40, 0], [0, MAX_EMPTY + 1]])
def test_an_empty_tensor_cannot_claim_any_size(rig: MakeRig, shape: list[int]) -> None:
    told = rig(models.identity("FP32", (None, None))).refused(one_input([], shape))
    assert "has no elements, but the other dimensions" in told


def test_requests_without_rows_share_runs(rig: MakeRig) -> None:
    made = rig(models.identity())
    body = json.dumps(one_input([], [0, 3])).encode()
    for others in ([], [json.dumps(one_input([1, 2, 3], [1, 3])).encode()]):
        calls = [made.json.decode(each) for each in [body, *others, body]]
        made.batcher().run(calls)
        answers = []
        for call in calls:
            assert call.results is not None
            answers.append(json.loads(call.encoder.encode(call.results, call.start, call.stop)[0]))
        shapes = [answer["outputs"][0]["shape"] for answer in answers]
        assert shapes == [[0, 3], *([1, 3] for _ in others), [0, 3]]


def optional_input(datatype: str = "FP32") -> ModelProto:
    """``given`` says whether ``x`` came; ``y`` is the other input."""
    kind = helper.make_tensor_type_proto(models.ELEMENTS[datatype], [None, 2])
    return models.model(
        [
            helper.make_node("OptionalHasElement", ["x"], ["given"]),
            helper.make_node("Identity", ["d"], ["y"]),
        ],
        [
            helper.make_value_info("x", helper.make_optional_type_proto(kind)),
            tensor("d", datatype, (None,)),
        ],
        [tensor("given", "BOOL", ()), tensor("y", datatype, (None,))],
    )


@pytest.mark.parametrize("datatype", sorted(NUMPY_NAMES))  # the runtime has no optional BF16
def test_an_input_of_an_optional_type_may_be_left_out(rig: MakeRig, datatype: str) -> None:
    made = rig(optional_input(datatype))
    x, d = values_of(datatype, [1, 2]), values_of(datatype, [3])
    for given in ({"d": d}, {"x": x, "d": d}, {"d": d, "x": x}):
        body, header = binaries(
            given, dict.fromkeys(given, datatype), parameters={"binary_data_output": True}
        )
        status, answer, length = made.ask(body, header=header)
        assert status == 200, answer
        assert parts(answer, length) == {
            "given": ([], bytes([len(given) - 1])),
            "y": ([3], on_the_wire(d)),
        }


# rows of several inputs


def test_the_rows_of_a_request_are_the_most_of_any_input(rig: MakeRig) -> None:
    made = rig(models.product())
    call = made.json.decode(json.dumps(of_shapes([1, 1], [3, 1])).encode())
    assert call.rows == 3


def test_a_graph_without_inputs_answers(rig: MakeRig) -> None:
    value = numpy_helper.from_array(np.array([7], np.int64))
    constant = models.model(
        [helper.make_node("Constant", [], ["y"], value=value)], [], [tensor("y", "INT64", (1,))]
    )
    assert rig(constant).infer({"inputs": []})["outputs"][0]["data"] == [7]


def test_a_string_of_the_graph_that_is_no_unicode_is_told(rig: MakeRig) -> None:
    broken = TensorProto(name="k", data_type=TensorProto.STRING, dims=[1], string_data=[b"\xff"])
    made = rig(
        models.model(
            [helper.make_node("Concat", ["x", "k"], ["y"], axis=0)],
            [tensor("x", "BYTES", (None,))],
            [tensor("y", "BYTES", (None,))],
            initializer=[broken],
        )
    )
    said = made.refused(one_input(["a"], [1], "BYTES"))
    assert "output 'y' has bytes that are not UTF-8" in said
    assert "request it with the parameter binary_data" in said
