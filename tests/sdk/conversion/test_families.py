"""docs/reference/model-families.md says what deploys: every line of it is tried here."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.sdk.conversion.examples import EXAMPLES
from tests.sdk.conversion.refused import REFUSED
from tollway.conversion import (
    ConversionError,
    ParityError,
    convert,
    decode_predictions,
    decode_probabilities,
    encode_inputs,
)
from tollway.conversion.runtime import Session

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "model-families.md"
pytestmark = [
    pytest.mark.filterwarnings("ignore:::sklearn"),
    pytest.mark.filterwarnings("ignore:::lightgbm"),
    pytest.mark.filterwarnings("ignore:::xgboost"),
]


def table(heading: str) -> list[str]:
    """First cells of the table under a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", section, flags=re.MULTILINE)
    return [row for row in rows if row != "estimator"]


DEPLOYS = [name.strip("`") for name in table("Families that deploy")]


def as_array(value: Any) -> Any:
    return np.asarray(value.toarray() if hasattr(value, "toarray") else value)


def test_every_named_family_has_an_example_and_every_example_a_line() -> None:
    assert list(dict.fromkeys(DEPLOYS)) == DEPLOYS
    assert set(DEPLOYS) == set(EXAMPLES)
    assert table("Families that do not deploy") == list(REFUSED)


@pytest.mark.parametrize("name", DEPLOYS)
def test_a_family_that_deploys_answers_as_the_original(name: str) -> None:
    example = EXAMPLES[name]()
    converted = convert(example.model, example.X)

    outputs = Session(converted.onnx_bytes).run(
        encode_inputs(converted.inputs, converted.columns, example.X)
    )
    got = decode_predictions(outputs, converted.task, converted.labels)
    model = example.model
    wanted = as_array(
        model.predict(example.X) if hasattr(model, "predict") else model.transform(example.X)
    )
    assert got.shape == wanted.shape
    if wanted.dtype.kind in "OUSb" or converted.task == "classification":
        assert got.tolist() == wanted.tolist()
    else:
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    if hasattr(model, "predict_proba"):
        probabilities = decode_probabilities(outputs, converted.task, converted.labels)
        np.testing.assert_allclose(probabilities, model.predict_proba(example.X), atol=2e-4)

    assert converted.parity is not None
    assert converted.parity.rows >= len(wanted)
    assert converted.parity.label_mismatches == 0
    check_face(converted.onnx_bytes)
    check_golden(converted)


def check_face(onnx_bytes: bytes) -> None:
    """The agreed names, a named batch dimension, and nothing but tensors."""
    graph = onnx.load_from_string(onnx_bytes).graph
    assert not any(node.op_type == "ZipMap" for node in graph.node)
    names = {output.name for output in graph.output}
    assert names <= {"label", "probabilities", "scores", "prediction", "transformed"}
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def check_golden(converted: Any) -> None:
    """The golden rows answer as they say when sent through the graph again."""
    document = json.loads(converted.golden)
    kinds = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "BOOL": bool}
    inputs = {
        tensor["name"]: np.asarray(
            tensor["data"], dtype=kinds.get(tensor["datatype"], object)
        ).reshape(tensor["shape"])
        for tensor in document["request"]["inputs"]
    }
    outputs = Session(converted.onnx_bytes).run(inputs)
    assert 1 <= len(next(iter(inputs.values()))) <= 8
    for tensor in document["response"]["outputs"]:
        got = outputs[tensor["name"]]
        assert list(got.shape) == tensor["shape"]
        if tensor["datatype"] in {"FP32", "FP64"}:
            np.testing.assert_allclose(
                got.ravel(), tensor["data"], rtol=document["rtol"], atol=document["atol"]
            )
        else:
            assert got.ravel().tolist() == tensor["data"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_family_that_does_not_deploy_is_refused_with_the_ways_out(name: str) -> None:
    example = REFUSED[name]()
    with pytest.raises((ConversionError, ParityError)) as refused:
        convert(example.model, example.X)
    text = str(refused.value)
    assert re.search(r"Ways? out: ", text)
    if isinstance(refused.value, ParityError):
        assert refused.value.row
        assert "Original:" in text
        assert "Converted:" in text
