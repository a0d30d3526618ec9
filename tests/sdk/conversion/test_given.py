"""A path to an .onnx file or a ModelProto deploys as it is."""

import json
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.sdk.conversion.data import numbers
from tests.sdk.conversion.examples import EXAMPLES
from tollway.conversion import ConversionError, convert


def doubler(columns: int = 3, output: str = "prediction") -> onnx.ModelProto:
    """A graph that doubles its rows."""
    two = numpy_helper.from_array(np.full((columns,), 2.0, np.float32), name="two")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["rows", "two"], [output])],
        "doubler",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", columns])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", columns])],
        initializer=[two],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


def test_a_proto_and_a_path_deploy_byte_for_byte(tmp_path: Path) -> None:
    model = doubler()
    path = tmp_path / "doubler.onnx"
    path.write_bytes(model.SerializeToString())
    for given in (model, path, str(path)):
        converted = convert(given)
        assert converted.onnx_bytes == model.SerializeToString()
        assert converted.task == "regression"
        assert converted.inputs == [{"name": "rows", "datatype": "FP32", "shape": [-1, 3]}]
        assert converted.parity is None
        assert converted.conversion == {"layout": "as given"}


def test_golden_rows_come_from_x_or_are_made_up() -> None:
    made_up = json.loads(convert(doubler()).golden or b"null")
    assert made_up["request"]["inputs"][0]["shape"] == [4, 3]
    X = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, 6.0]})
    converted = convert(doubler(), X)
    document = json.loads(converted.golden or b"null")
    assert document["request"]["inputs"][0]["data"] == [1, 3, 5, 2, 4, 6]
    assert document["response"]["outputs"][0]["data"] == [2, 6, 10, 4, 8, 12]
    assert [(c["name"], c["input"], c["index"]) for c in converted.columns] == [
        ("a", "rows", 0),
        ("b", "rows", 1),
        ("c", "rows", 2),
    ]


def test_external_data_beside_the_file_comes_along(tmp_path: Path) -> None:
    path = tmp_path / "big.onnx"
    onnx.save_model(
        doubler(512), path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    converted = convert(path)
    assert converted.external_files == {"weights.bin": tmp_path / "weights.bin"}


def test_external_data_outside_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = folder / "big.onnx"
    onnx.save_model(
        doubler(512), path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    (folder / "weights.bin").rename(tmp_path / "weights.bin")
    data = path.read_bytes().replace(b"weights.bin", b"../eights.bin"[:11])
    path.write_bytes(data)
    with pytest.raises(ConversionError, match=r"leaves the folder|is missing beside"):
        convert(path)


def test_what_is_not_onnx_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x04not a graph")
    with pytest.raises(ConversionError, match=r"is not an ONNX model|does not load"):
        convert(path)
    with pytest.raises(ConversionError, match="is not a file"):
        convert(tmp_path / "absent.onnx")


def test_a_graph_that_does_not_load_is_refused() -> None:
    model = doubler()
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ConversionError, match="does not load"):
        convert(model)


def test_maps_are_refused_with_the_way_out() -> None:
    model = doubler()
    model.graph.node.append(
        helper.make_node("ZipMap", ["prediction"], ["maps"], domain="ai.onnx.ml")
    )
    with pytest.raises(ConversionError, match="zipmap=False"):
        convert(model)


def test_rows_that_do_not_fit_the_graph_are_refused() -> None:
    with pytest.raises(ConversionError, match="not the inputs of the graph"):
        convert(doubler(), pd.DataFrame({"a": ["x"]}))
    with pytest.raises(ConversionError, match="not the inputs of the graph"):
        convert(doubler(), np.zeros((2, 2)))


def test_a_converted_graph_can_be_saved_and_deployed_again(tmp_path: Path) -> None:
    example = EXAMPLES["Ridge"]()
    path = tmp_path / "ridge.onnx"
    path.write_bytes(convert(example.model, example.X).onnx_bytes)
    again = convert(path, numbers()[0])
    assert again.task == "regression"
    assert len(again.columns) == 10
