"""Inputs with a default, and outputs that a run need not give."""

import json
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.serving import models
from tests.serving.conftest import MakeRig
from tests.serving.models import tensor
from tests.serving.rig import Rig, one_input


def scaled(ir_version: int = 9) -> ModelProto:
    """``y = x * factor``, the factor 2 unless it is given."""
    graph = models.model(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [tensor("factor", "FP32", (1,)), tensor("x", "FP32", (None, 2))],
        [tensor("y", "FP32", (None, 2))],
        initializer=[numpy_helper.from_array(np.array([2], np.float32), "factor")],
    )
    graph.ir_version = ir_version
    return graph


FACTOR = {"name": "factor", "shape": [1], "datatype": "FP32", "data": [5]}


def test_an_input_with_a_default_may_be_left_out(rig: MakeRig) -> None:
    made = rig(scaled())
    x = one_input([1, 2, 3, 4], [2, 2])["inputs"]
    for inputs, expected in (
        (x, [2, 4, 6, 8]),
        ([FACTOR, *x], [5, 10, 15, 20]),
        ([*x, FACTOR], [5, 10, 15, 20]),
    ):
        assert made.infer({"inputs": inputs})["outputs"][0]["data"] == expected
    assert made.refused({"inputs": [FACTOR]}) == "input 'x' is missing"
    assert made.refused({"inputs": [*x, FACTOR, FACTOR]}) == "input 'factor' is given twice"
    assert made.predict({"instances": [[1, 2]]}) == {"predictions": [[2, 4]]}
    assert made.predict({"inputs": {"x": [[1, 2]], "factor": [3]}}) == {"outputs": [[3, 6]]}
    raw = np.array([[1, 2]], np.float32).tobytes()
    assert made.ask(raw, header=0)[0] == 200


def test_only_requests_without_optional_inputs_share_runs(rig: MakeRig) -> None:
    made = rig(scaled())
    assert made.merging, made.why_not
    x = one_input([1, 2], [1, 2])["inputs"]
    plain = made.json.decode(json.dumps({"inputs": x}).encode())
    special = made.json.decode(json.dumps({"inputs": [FACTOR, *x]}).encode())
    assert plain.key is not None
    assert special.key is None
    assert (plain.rows, special.rows) == (1, 1)


def optional_output() -> ModelProto:
    """``maybe`` is ``x`` where ``wanted`` says so, and nothing otherwise; ``always`` is ``x``."""
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, [None, 2])
    option = helper.make_optional_type_proto(kind)
    branches = [
        helper.make_graph([node], "g", [], [helper.make_value_info(name, option)])
        for name, node in (
            ("some", helper.make_node("Optional", ["x"], ["some"])),
            ("none", helper.make_node("Optional", [], ["none"], type=kind)),
        )
    ]
    choice = helper.make_node(
        "If", ["wanted"], ["maybe"], then_branch=branches[0], else_branch=branches[1]
    )
    return models.model(
        [choice, helper.make_node("Identity", ["x"], ["always"])],
        [tensor("wanted", "BOOL", ()), tensor("x", "FP32", (None, 2))],
        [helper.make_value_info("maybe", option), tensor("always", "FP32", (None, 2))],
    )


def ask_for(made: Rig, wanted: bool, outputs: list[dict[str, Any]], **more: Any) -> Any:
    inputs = [
        {"name": "wanted", "shape": [], "datatype": "BOOL", "data": [wanted]},
        {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]},
    ]
    body = json.dumps({"inputs": inputs, "outputs": outputs, **more}).encode()
    status, answer, header = made.ask(body)
    assert status == 200, answer
    names = [output["name"] for output in json.loads(answer[:header])["outputs"]]
    return names, answer[header:]


def test_an_optional_output_is_left_out_where_the_run_gave_none(rig: MakeRig) -> None:
    made = rig(optional_output())
    both = [{"name": "maybe"}, {"name": "always"}]
    for form, size in ({}, 0), ({"parameters": {"binary_data_output": True}}, 8):
        assert ask_for(made, True, both, **form)[0] == ["maybe", "always"]
        names, tail = ask_for(made, False, both, **form)
        assert (names, len(tail)) == (["always"], size)
        assert ask_for(made, False, both[::-1], **form)[0] == ["always"]
        assert ask_for(made, False, both[:1], **form) == ([], b"")
    request: dict[str, Any] = {"inputs": {"wanted": False, "x": [[1, 2]]}}
    assert made.predict(request) == {"outputs": {"maybe": None, "always": [[1, 2]]}}
    request["inputs"]["wanted"] = True
    assert made.predict(request)["outputs"]["maybe"] == [[1, 2]]
