"""BYTES of any bytes go in and out as binary; who needs text says so."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper, numpy_helper

from protocol.frames import NO_HEADER, Operation
from serving.comparison import label_text
from serving.session import Session
from serving.signature import Signature
from tests.serving import models
from tests.serving.conftest import MakeRig
from tests.serving.models import manifest_of, tensor
from tests.serving.rig import Rig
from tests.serving.test_types import binaries, parts
from tests.serving.test_v2_binary import binary_request, strings

NO_TEXT = b"\xff\xfe"
BINARY = {"parameters": {"binary_data_output": True}}
ODD = [
    NO_TEXT,
    b"",
    b"\0",
    b"a\0b\xff\0",
    bytes(range(256)),
    "é".encode(),
    b"\xed\xa0\x80",
    b"x" * 99,
]


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """``y = x`` on strings, its files removed, as an engine's are once it has loaded."""
    folder = tmp_path_factory.mktemp("echo")
    made = Rig(models.identity("BYTES", (None,)), folder)
    shutil.rmtree(folder)
    return made


def echoed(made: Rig, values: list[bytes]) -> bytes:
    body, length = binary_request(strings(*values), [len(values)], "BYTES", **BINARY)
    status, answer, header = made.ask(body, header=length)
    assert status == 200, answer
    shape, data = parts(answer, header)["y"]
    assert shape == [len(values)]
    return data


@settings(deadline=None)  # the first run loads the graph again
@given(st.lists(st.binary(max_size=40), max_size=8).map(lambda some: [*some, NO_TEXT]))
def test_any_bytes_come_back_as_they_were_sent(echo: Rig, values: list[bytes]) -> None:
    assert echoed(echo, values) == strings(*values)


def test_bytes_with_zeros_and_halves_of_characters_come_back(echo: Rig) -> None:
    assert echoed(echo, ODD) == strings(*ODD)


def test_a_raw_body_may_have_any_bytes(echo: Rig) -> None:
    status, answer, header = echo.ask(strings(NO_TEXT), header=0)
    assert (status, parts(answer, header)["y"]) == (200, ([1], strings(NO_TEXT)))


def test_json_refuses_bytes_that_it_cannot_carry(echo: Rig) -> None:
    body, length = binary_request(strings(NO_TEXT), [1], "BYTES")
    status, answer, header = echo.ask(body, header=length)
    assert (status, header) == (400, NO_HEADER)
    assert b"output 'y' has bytes that are not UTF-8" in answer
    assert b"binary_data" in answer
    assert "is not valid Unicode" in echo.refused(
        b'{"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["\\udcff"]}]}'
    )


def test_one_output_may_be_binary_beside_one_of_text(rig: MakeRig) -> None:
    made = rig(models.columns())
    given_ = {
        "age": np.array([[1.5]], np.float32),
        "city": np.array([["Köln"]], object),
        "visits": np.array([[3]], np.int64),
        "member": np.array([[True]]),
    }
    kinds = {"age": "FP32", "city": "BYTES", "visits": "INT64", "member": "BOOL"}
    body, length = binaries(given_, kinds, **BINARY)
    body = body.replace("Köln".encode(), b"K\xff\xfeln")
    status, answer, header = made.ask(body, header=length)
    assert status == 200, answer
    found = parts(answer, header)
    assert found["city_out"][1] == strings(b"K\xff\xfeln")
    assert found["age_out"][1] == given_["age"].tobytes()
    assert found["visits_out"][1] == given_["visits"].tobytes()
    assert found["member_out"][1] == b"\1"


def reading(operator: str, output: str, **attributes: Any) -> ModelProto:
    return models.model(
        [helper.make_node(operator, ["x"], ["y"], **attributes)],
        [tensor("x", "BYTES", (None,))],
        [tensor("y", output, (None,))],
    )


@pytest.mark.parametrize(
    "graph",
    [
        reading("Cast", "FP32", to=1),
        reading("StringNormalizer", "BYTES", case_change_action="LOWER", locale="C"),
    ],
    ids=["Cast", "StringNormalizer"],
)
def test_a_model_that_needs_text_refuses_other_bytes(rig: MakeRig, graph: ModelProto) -> None:
    body, length = binary_request(strings(NO_TEXT), [1], "BYTES", **BINARY)
    status, answer, _ = rig(graph).ask(body, header=length)
    assert status == 400
    assert b"the model failed on this input" in answer


def test_a_model_may_answer_with_bytes_that_are_no_text(rig: MakeRig) -> None:
    constant = numpy_helper.from_array(np.array([b"\xff\xfe"], object), "c")
    graph = models.model(
        [
            helper.make_node("Shape", ["x"], ["n"]),
            helper.make_node("Expand", ["c", "n"], ["y"]),
        ],
        [tensor("x", "FP32", (None,))],
        [tensor("y", "BYTES", (None,))],
        initializer=[constant],
    )
    body, length = binary_request(b"\0" * 8, [2], "FP32", **BINARY)
    status, answer, header = rig(graph).ask(body, header=length)
    assert status == 200, answer
    assert parts(answer, header)["y"] == ([2], strings(NO_TEXT, NO_TEXT))
    status, answer, _ = rig(graph).ask(b'{"inputs": {"x": [1, 2]}}', Operation.V1_PREDICT)
    assert status == 400
    assert b"not UTF-8" in answer


def test_who_sent_other_bytes_takes_nothing_from_those_in_the_same_run(rig: MakeRig) -> None:
    made = rig(reading("Cast", "FP32", to=1))
    calls = []
    for text in (b"1.5", NO_TEXT, b"2.5"):
        body, length = binary_request(strings(text), [1], "BYTES")
        calls.append(made.binary.decode(body, length))
    made.batcher().run(calls)
    assert [call.error is None for call in calls] == [True, False, True]
    for call, expected in ((calls[0], 1.5), (calls[2], 2.5)):
        assert call.results is not None
        answer, _ = call.encoder.encode(call.results, call.start, call.stop)
        assert json.loads(answer)["outputs"][0]["data"] == [expected]


def test_numbers_of_every_kind_go_along_with_such_strings(rig: MakeRig) -> None:
    graph = models.model(
        [
            helper.make_node("Identity", ["x"], ["y"]),
            helper.make_node("Identity", ["h"], ["half"]),
            helper.make_node("Identity", ["d"], ["double"]),
        ],
        [tensor("x", "BYTES", ()), tensor("h", "FP16", (None, 2)), tensor("d", "FP64", (0,))],
        [
            tensor("y", "BYTES", ()),
            tensor("half", "FP16", (None, 2)),
            tensor("double", "FP64", (0,)),
        ],
    )
    arrays = {
        "x": np.array("no text", object),
        "h": np.array([[1, 2], [3, 4]], np.float16),
        "d": np.empty(0),
    }
    body, length = binaries(arrays, {"x": "BYTES", "h": "FP16", "d": "FP64"}, **BINARY)
    status, answer, header = rig(graph).ask(body.replace(b"no text", b"\xff" * 7), header=length)
    assert status == 200, answer
    assert parts(answer, header) == {
        "y": ([], strings(b"\xff" * 7)),
        "half": ([2, 2], arrays["h"].tobytes()),
        "double": ([0], b""),
    }


def test_weights_beside_the_graph_are_kept_for_such_runs(tmp_path: Path) -> None:
    graph = models.model(
        [
            helper.make_node("Identity", ["x"], ["y"]),
            helper.make_node("Add", ["n", "w"], ["sum"]),
        ],
        [tensor("x", "BYTES", (None,)), tensor("n", "FP32", (4,))],
        [tensor("y", "BYTES", (None,)), tensor("sum", "FP32", (4,))],
        initializer=[
            helper.make_tensor("w", 1, [4], np.arange(4, dtype=np.float32).tobytes(), raw=True)
        ],
    )
    weights = graph.graph.initializer[0]
    manifest = manifest_of(graph)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = 1
    weights.external_data.add(key="location", value="sub/w.bin")
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    session = Session(tmp_path / "model.onnx", Signature(manifest, 1))
    shutil.rmtree(tmp_path)
    x = np.empty(1, object)
    x[:] = [NO_TEXT.decode("utf-8", "surrogateescape")]
    y, total = session.run([x, np.ones(4, np.float32)])
    assert y is not None
    assert total is not None
    assert y.tolist() == x.tolist()
    assert total.tolist() == [1, 2, 3, 4]


def test_a_class_that_is_no_text_has_a_name_that_reports_can_carry() -> None:
    assert label_text("caf\udcff é") == "caf\\udcff é"
