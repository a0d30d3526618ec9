"""V2 in JSON: every datatype, nested and flat, and an exact error for everything else."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.frames import Operation
from protocol.manifest import Column
from serving.tensors import exact_floats, packer
from tests.serving import models
from tests.serving.conftest import MakeRig
from tests.serving.rig import one_input

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False, True],
    "UINT8": [0, 7, 255],
    "UINT16": [0, 7, 65535],
    "UINT32": [0, 7, 2**32 - 1],
    "UINT64": [0, 7, 2**64 - 1],
    "INT8": [-128, 0, 127],
    "INT16": [-32768, 0, 32767],
    "INT32": [-(2**31), 0, 2**31 - 1],
    "INT64": [-(2**63), 0, 2**63 - 1],
    "FP16": [-1.5, 0.0, 65504.0],
    "FP32": [-1.5, 0.25, 3.4028234663852886e38],
    "FP64": [-1.5, 0.1, 1e300],
    "BYTES": ["", "é\u0000", "\U0001f600"],
}


@pytest.mark.parametrize("datatype", VALUES)
@pytest.mark.parametrize("form", ["flat", "nested", "deep"])
def test_every_datatype_goes_in_and_out(rig: MakeRig, datatype: str, form: str) -> None:
    values = VALUES[datatype]
    shape: list[int] = [2, 3] if form != "deep" else [2, 1, 3]
    data: list[Any] = {
        "flat": values * 2,
        "nested": [values, values],
        "deep": [[values], [values]],
    }[form]
    answer = rig(models.identity(datatype, (None, *shape[1:]))).infer(
        one_input(data, shape, datatype)
    )
    assert answer == {
        "model_name": "m",
        "model_version": "1",
        "outputs": [{"name": "y", "datatype": datatype, "shape": shape, "data": values * 2}],
    }


def test_non_finite_floats_are_taken_and_written_as_null(rig: MakeRig) -> None:
    body = (
        b'{"inputs":[{"name":"x","shape":[2,3],"datatype":"FP32",'
        b'"data":[NaN,Infinity,-Infinity,null,1,2.5]}]}'
    )
    assert rig(models.identity()).infer(body)["outputs"][0]["data"] == [None] * 4 + [1.0, 2.5]


def test_null_alone_stays_on_the_fast_path_and_is_nan(rig: MakeRig) -> None:
    made = rig(models.identity())
    call = made.json.decode(json.dumps(one_input([1, None, 3], [1, 3])).encode())
    assert call.feeds[0] is not None
    assert np.isnan(call.feeds[0][0, 1])


def test_outputs_come_as_requested_and_in_that_order(rig: MakeRig) -> None:
    made = rig(models.classifier())
    request = one_input([1, 2, 3], [1, 3], name="input")
    names = [output["name"] for output in made.infer(request)["outputs"]]
    assert names == ["label", "probabilities"]
    request["outputs"] = [{"name": "probabilities"}, {"name": "label"}]
    assert [o["name"] for o in made.infer(request)["outputs"]] == ["probabilities", "label"]
    request["outputs"] = [{"name": "label"}]
    assert [o["data"] for o in made.infer(request)["outputs"]] == [[2]]
    request["outputs"] = [{"name": "score"}]
    assert made.refused(request).startswith("unknown output 'score'")
    request["outputs"] = [{"name": "label"}, {"name": "label"}]
    assert made.refused(request) == "output 'label' is requested twice"


def test_id_and_parameters_come_back(rig: MakeRig) -> None:
    request = one_input([1, 2, 3], [1, 3])
    request |= {"id": 'a"b', "parameters": {"trace": "x", "n": 3, "binary_data_output": False}}
    answer = rig(models.identity()).infer(request)
    assert answer["id"] == 'a"b'
    assert answer["parameters"] == {"trace": "x", "n": 3}


def test_inputs_may_come_in_any_order(rig: MakeRig) -> None:
    made = rig(models.columns())
    inputs = [
        {"name": "visits", "shape": [1, 1], "datatype": "INT64", "data": [4]},
        {"name": "member", "shape": [1, 1], "datatype": "BOOL", "data": [True]},
        {"name": "city", "shape": [1, 1], "datatype": "BYTES", "data": ["Ulm"]},
        {"name": "age", "shape": [1, 1], "datatype": "FP32", "data": [[1.5]]},
    ]
    for given_inputs in (inputs, inputs[::-1], [inputs[3], inputs[2], inputs[0], inputs[1]]):
        outputs = made.infer({"inputs": given_inputs})["outputs"]
        assert [output["data"] for output in outputs] == [[1.5], ["Ulm"], [4], [True]]


BAD: list[tuple[object, str]] = [
    (one_input([1, "abc", 3], [1, 3]), "input 'x' data[1]: 'abc' is not FP32"),
    (one_input([[1, 2, 3], [4, True, 6]], [2, 3]), "input 'x' data[1][1]: true is not FP32"),
    (one_input([1, {}, 3], [1, 3]), "input 'x' data[1]: an object is not FP32"),
    (one_input([1, 2, 1e39], [1, 3]), "input 'x' data[2]: 1e+39 is out of range for FP32"),
    (one_input([1, 2, 10**400], [1, 3]), "out of range for FP32"),
    (one_input([1, 2], [1, 3]), "input 'x' data has 2 elements, but its shape [1, 3] has 3"),
    (one_input([[1, 2, 3]], [2, 3]), "is nested as [1, 3], but its shape is [2, 3]"),
    (one_input([[1, 2, 3], [1, 2]], [2, 3]), "arrays of different lengths at depth 1"),
    (one_input([1, [2], 3], [1, 3]), "input 'x' data mixes values and arrays at depth 1"),
    (one_input([1, 2], [0, 3]), "input 'x' data has 2 elements, but its shape [0, 3] has 0"),
    (one_input([], [1, 0]), "input 'x' has shape [1, 0], but the model takes [-1, 3]"),
    (one_input([1, 2, 3], [-1, 3]), "input 'x' shape[0]: -1 is not a dimension"),
    (one_input([1, 2, 3], [2**63, 3]), f"input 'x' shape[0]: {2**63} is not a dimension"),
    (one_input([1, 2, 3], [2**62, 3]), "has 3 elements, but its shape"),
    (one_input([1, 2, 3], [3]), "input 'x' has 1 dimensions in shape [3]"),
    (one_input([1, 2, 3, 4], [1, 4]), "has shape [1, 4], but the model takes [-1, 3]"),
    (one_input([1, 2, 3], [1, 3.0]), "input 'x' shape[1]: 3.0 is not an integer"),  # type: ignore[list-item]
    (one_input([1, 2, 3], [1, 3], "FP64"), "input 'x' has datatype 'FP64'; the model takes FP32"),
    (one_input([1, 2, 3], [1, 3], "F"), "which is no datatype of the protocol"),
    (one_input([1, 2, 3], [1, 3], name="z"), "unknown input 'z': the model takes 'x'"),
    (one_input(5, [1, 3]), "input 'x' data is not an array"),
    ({"inputs": []}, "input 'x' is missing"),
    ({"inputs": [one_input([1, 2, 3], [1, 3])["inputs"][0]] * 2}, "input 'x' is given twice"),
    ({"inputs": [5]}, "inputs[0]: 5 is not an object"),
    ({"inputs": {}}, "the request has no array 'inputs'"),
    ([], "the request must be a JSON object with 'inputs'"),
    (one_input([1, 2, 3], [1, 3]) | {"id": 5}, "id: 5 is not a string"),
    (one_input([1, 2, 3], [1, 3]) | {"outputs": 5}, "'outputs' is not an array"),
    (one_input([1, 2, 3], [1, 3]) | {"parameters": []}, "parameters: [] is not an object"),
    (one_input([1, 2, 3], [1, 3]) | {"parameters": {"a": []}}, "the value of 'a' is not a string"),
    (b"", "the body is not"),
    (b'{"inputs":[', "the body is not JSON"),
    (b'{"inputs":[\xff]}', "the body is not valid UTF-8 at byte 11"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"inputs":' + b"[" * 100_000, "nested too deeply"),
    (b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1e400,1,2]}]}', "1e400"),
    (b'{"inputs":[' + b"9" * 5000 + b"]}", "the body is not usable JSON"),
]


@pytest.mark.parametrize(("request_", "reason"), BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_named(rig: MakeRig, request_: object, reason: str) -> None:
    assert reason in rig(models.identity()).refused(request_)


@pytest.mark.parametrize(
    ("datatype", "value", "reason"),
    [
        ("INT64", 1.0, "input 'x' data[0]: 1.0 is not INT64"),
        ("INT64", None, "input 'x' data[0]: null is not INT64"),
        ("INT8", 128, "input 'x' data[0]: 128 is out of range for INT8"),
        ("UINT8", -1, "input 'x' data[0]: -1 is out of range for UINT8"),
        ("UINT64", 2**64, f"input 'x' data[0]: {2**64} is out of range for UINT64"),
        ("FP16", 1e5, "input 'x' data[0]: 100000.0 is out of range for FP16"),
        ("BOOL", 1, "input 'x' data[0]: 1 is not BOOL"),
        ("BYTES", 1, "input 'x' data[0]: 1 is not BYTES"),
        ("BYTES", None, "input 'x' data[0]: null is not BYTES"),
        ("BYTES", "\ud800", "is not valid Unicode"),
    ],
)
def test_values_of_another_type_are_refused(
    rig: MakeRig, datatype: str, value: object, reason: str
) -> None:
    made = rig(models.identity(datatype, (None, 1)))
    assert reason in made.refused(one_input([value], [1, 1], datatype))


@pytest.mark.parametrize(
    ("echoed", "reason"),
    [
        ({"id": "a\udfff"}, "id: 'a\\\\udfff' is not valid Unicode"),
        ({"parameters": {"\ud800": 1}}, "parameters: '\\\\ud800' is not valid Unicode"),
        ({"parameters": {"a": "\ud800"}}, "parameters 'a': '\\\\ud800' is not valid Unicode"),
    ],
)
def test_a_lone_surrogate_cannot_come_back_and_is_refused(
    rig: MakeRig, echoed: dict[str, object], reason: str
) -> None:
    made = rig(models.identity())
    assert made.refused(one_input([1, 2, 3], [1, 3]) | echoed) == reason
    pair = made.infer(one_input([1, 2, 3], [1, 3]) | {"id": "\U0001f600"})
    assert pair["id"] == "\U0001f600"


@pytest.mark.parametrize("reverse", [False, True], ids=["fast", "slow"])
def test_columns_of_different_numbers_of_rows_are_named(rig: MakeRig, reverse: bool) -> None:
    columns = tuple(
        Column(name=name, type="float", input=name) for name in ("age", "city", "visits", "member")
    )
    made = rig(models.columns(), columns=columns)
    inputs = [
        {"name": "age", "shape": [2, 1], "datatype": "FP32", "data": [1.5, 2]},
        {"name": "city", "shape": [1, 1], "datatype": "BYTES", "data": ["Ulm"]},
        {"name": "visits", "shape": [1, 1], "datatype": "INT64", "data": [4]},
        {"name": "member", "shape": [1, 1], "datatype": "BOOL", "data": [True]},
    ]
    error = made.refused({"inputs": inputs[::-1] if reverse else inputs})
    assert error == "inputs 'age' and 'city' have 2 and 1 rows"


def test_a_graph_without_columns_may_broadcast(rig: MakeRig) -> None:
    one = {"name": "a", "shape": [1, 1], "datatype": "FP32", "data": [2]}
    three = {"name": "b", "shape": [3, 1], "datatype": "FP32", "data": [1, 2, 3]}
    answer = rig(models.product()).infer({"inputs": [one, three]})
    assert answer["outputs"][0]["data"] == [2, 4, 6]


def test_an_error_repeats_only_the_beginning_of_a_long_value(rig: MakeRig) -> None:
    error = rig(models.identity()).refused(one_input(["é" * 100_000, 2, 3], [1, 3]))
    assert len(error) < 200


def test_what_the_graph_refuses_is_the_clients_error_without_internals(rig: MakeRig) -> None:
    error = rig(models.gather()).refused(one_input([7], [1], "INT64", "index"))
    assert error.startswith("the model failed on this input: ")
    assert "onnxruntime" not in error.lower()
    assert "/" not in error


def test_a_failure_does_not_say_where_in_the_runtimes_source_it_was_seen(rig: MakeRig) -> None:
    inputs = [
        {"name": "a", "shape": [2, 1], "datatype": "FP32", "data": [1, 2]},
        {"name": "b", "shape": [3, 1], "datatype": "FP32", "data": [1, 2, 3]},
    ]
    error = rig(models.side_by_side()).refused({"inputs": inputs})
    assert error.startswith("the model failed on this input: Non concat axis dimensions must match")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "shape", "data", "inputs"]), children, max_size=4
        )
    ),
    max_leaves=12,
)


@given(data=JSON, shape=JSON, datatype=JSON | st.just("FP32"), extra=JSON)
@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_request_gets_anything_but_an_answer_or_a_documented_error(
    module_rig: Any, data: object, shape: object, datatype: object, extra: object
) -> None:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    for request in ({"inputs": [tensor]}, {"inputs": [tensor], "outputs": extra}, extra):
        status, _, _ = module_rig.ask(json.dumps(request).encode())
        assert status in (200, 400)


@given(
    data=st.none() | st.lists(st.integers(-5, 5) | st.floats() | st.text(max_size=2), max_size=4),
    shape=st.lists(st.integers(-1, 3) | st.just(2**63), max_size=3),
    datatype=st.sampled_from([*VALUES, "BF16", ""]),
    kind=st.sampled_from(["FP32", "INT64", "BYTES", "BOOL", "BF16"]),
    rank=st.integers(0, 2),
)
@settings(deadline=None, max_examples=300)
def test_no_shape_or_type_gets_anything_but_an_answer_or_a_documented_error(
    rigs: Any, data: object, shape: list[int], datatype: str, kind: str, rank: int
) -> None:
    body = json.dumps(one_input(data, shape, datatype)).encode()
    for operation in (Operation.V2_INFER, Operation.V1_PREDICT):
        assert rigs(kind, rank).ask(body, operation)[0] in (200, 400)
    for field in ("instances", "inputs"):
        predict = json.dumps({field: data}).encode()
        assert rigs(kind, rank).ask(predict, Operation.V1_PREDICT)[0] in (200, 400)
    assert rigs(kind, rank).ask(body, header=0)[0] in (200, 400)
    assert rigs(kind, rank).ask(body, header=len(body))[0] in (200, 400)


@given(body=st.binary(max_size=60))
@settings(deadline=None, max_examples=100)
def test_no_bytes_get_anything_but_a_documented_error(module_rig: Any, body: bytes) -> None:
    assert module_rig.ask(body)[0] == 400


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Rigs around identities of a datatype and a number of dimensions."""
    from functools import cache

    from tests.serving.rig import Rig

    @cache
    def make(kind: str, rank: int) -> Rig:
        shape = (None, 2)[:rank]
        return Rig(models.identity(kind, shape), tmp_path_factory.mktemp("rig"))

    return make


@pytest.fixture(scope="module")
def module_rig(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.serving.rig import Rig

    return Rig(models.identity(), tmp_path_factory.mktemp("rig"))


@given(values=st.lists(st.floats(width=64) | st.integers(-(2**80), 2**80), min_size=1))
def test_packed_floats_are_those_that_numpy_makes(values: list[float]) -> None:
    for letter, name in (("f", "<f4"), ("d", "<f8")):
        try:
            with exact_floats():
                expected = np.array(values, name).tobytes()
        except FloatingPointError:
            with pytest.raises(OverflowError):
                packer(len(values), letter)(*values)
        else:
            packed = packer(len(values), letter)(*values)
            kept = ~np.isnan(np.frombuffer(expected, name))  # JSON has no NaN, nor its bits
            assert np.array_equal(
                np.frombuffer(packed, name)[kept].view(f"<u{name[2]}"),
                np.frombuffer(expected, name)[kept].view(f"<u{name[2]}"),
            )


@pytest.mark.parametrize("data", [[1, None, 3, 4, 5, 6], [[1, None, 3], [4, 5, 6]]])
def test_what_cannot_be_packed_is_taken_all_the_same(rig: MakeRig, data: list[Any]) -> None:
    answer = rig(models.identity()).infer(one_input(data, [2, 3]))
    assert answer["outputs"][0]["data"] == [1, None, 3, 4, 5, 6]


def test_as_many_rows_as_there_should_be_elements_are_refused(rig: MakeRig) -> None:
    assert "nested as [3, 1]" in rig(models.identity()).refused(one_input([[1], [2], [3]], [1, 3]))
