"""The curl lines of the demo, and how their answers are judged."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest

import tollway
from demo import calls
from demo.training import Trained
from tollway.resources import Blob, Column, Manifest, Tensor


def _classifier() -> Trained:
    return Trained(
        name="m",
        changes="",
        estimator=None,
        X=None,
        y=None,
        X_test=None,
        y_test=None,
        rows=np.array([[0.1, 2.0], [3.0, 4.5]]),
        predictions=np.array(["it's", "no"], dtype=object),
        probabilities=np.array([[0.9, 0.1], [0.2, 0.8]]),
        metrics={},
    )


def _regressor() -> Trained:
    return Trained(
        name="m",
        changes="",
        estimator=None,
        X=None,
        y=None,
        X_test=None,
        y_test=None,
        rows=pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}),
        predictions=np.array([10.0, 20.0]),
        probabilities=None,
        metrics={},
    )


def _version(datatype: str, columns: tuple[Column, ...]) -> tollway.Version:
    manifest = Manifest(
        model="m",
        artifact=Blob(digest="sha256:0", size=1),
        inputs=(Tensor(name="input", datatype=datatype, shape=(-1, 2)),),
        outputs=(),
        columns=columns,
    )
    return tollway.Version(
        model="m", number=1, digest="", state="published", loaded=True, manifest=manifest
    )


COLUMNS = (
    Column(name="a", type="float", input="input", index=0),
    Column(name="b", type="float", input="input", index=1),
)


def test_the_lines_survive_a_shell_and_carry_the_rows() -> None:
    line = calls.v1("http://h:1", "tw_key", _regressor())
    words = shlex.split(str(line))
    assert words == line.arguments
    assert words[2] == "http://h:1/v1/models/m:predict"
    assert "X-API-Key: tw_key" in words
    assert json.loads(words[-1]) == {"instances": [{"a": 1.0, "b": 3.0}, {"a": 2.0, "b": 4.0}]}


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_v2_lines_carry_short_numbers_in_the_inputs_type(datatype: str) -> None:
    line = calls.v2("http://h", "k", _classifier(), _version(datatype, COLUMNS))
    assert json.loads(line.body)["inputs"] == [
        {
            "name": "input",
            "shape": [2, 2],
            "datatype": datatype,
            "data": [[0.1, 2.0], [3.0, 4.5]],
        }
    ]


def test_equal_answers_are_equal_in_both_protocols() -> None:
    v1 = {
        "predictions": [
            {"label": "it's", "probabilities": [0.90001, 0.09999]},
            {"label": "no", "probabilities": [0.2, 0.8]},
        ]
    }
    v2 = {
        "outputs": [
            {"name": "label", "data": ["it's", "no"]},
            {"name": "probabilities", "data": [0.9, 0.1, 0.2, 0.8]},
        ]
    }
    assert calls.difference(json.dumps(v1), _classifier()) is None
    assert calls.difference(json.dumps(v2), _classifier()) is None
    assert calls.difference('{"predictions": [10.0001, 20]}', _regressor()) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "not JSON"),
        ('{"error": "no key"}', "no key"),
        ('{"predictions": [10.0]}', "no answer for every row"),
        ('{"predictions": [10.0, 21.0]}', "scikit-learn says"),
        ('{"outputs": []}', "no answer for every row"),
    ],
)
def test_any_other_answer_is_told_apart(answer: str, reason: str) -> None:
    assert reason in (calls.difference(answer, _regressor()) or "")


def test_wrong_labels_and_wrong_probabilities_are_told_apart() -> None:
    def answer(label: str, share: float) -> str:
        rows = [
            {"label": label, "probabilities": [share, 1 - share]},
            {"label": "no", "probabilities": [0.2, 0.8]},
        ]
        return json.dumps({"predictions": rows})

    assert "labels" in (calls.difference(answer("no", 0.9), _classifier()) or "")
    assert "probabilities" in (calls.difference(answer("it's", 0.8), _classifier()) or "")
