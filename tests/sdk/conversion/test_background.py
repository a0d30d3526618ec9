"""Background rows: which rows of the training data a version keeps."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tests.sdk.conversion.test_given import doubler
from tollway.conversion import background as module
from tollway.conversion import convert

ROWS = np.random.default_rng(0).normal(size=(300, 3))
MODEL = LinearRegression().fit(ROWS, ROWS.sum(axis=1))


def tensors(data: bytes | None) -> dict[str, Any]:
    assert data is not None
    return {tensor["name"]: tensor for tensor in json.loads(data)["request"]["inputs"]}


def test_a_hundred_rows_of_x_are_kept_the_same_ones_every_time() -> None:
    kept = convert(MODEL, ROWS).background
    assert kept == convert(MODEL, ROWS).background
    [tensor] = tensors(kept).values()
    assert (tensor["shape"], tensor["datatype"]) == ([100, 3], "FP32")
    found = np.array(tensor["data"], np.float32).reshape(100, 3)
    known = {tuple(row) for row in ROWS.astype(np.float32).tolist()}
    assert all(tuple(row) in known for row in found.tolist())
    assert len({tuple(row) for row in found.tolist()}) == 100


def test_fewer_rows_are_the_first_of_more() -> None:
    few, many = (
        next(iter(tensors(convert(MODEL, ROWS, background=count).background).values()))["data"]
        for count in (10, 50)
    )
    assert many[:30] == few


def test_without_x_or_without_a_wish_for_them_there_are_none() -> None:
    assert convert(MODEL).background is None
    assert convert(MODEL, ROWS, background=0).background is None
    assert convert(doubler()).background is None


def test_a_graph_that_is_given_with_x_has_them_too() -> None:
    assert tensors(convert(doubler(), np.ones((5, 3))).background)["rows"]["shape"] == [5, 3]


def test_columns_of_all_types_are_kept_as_the_graph_takes_them() -> None:
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0] * 5, "city": ["a", "b", "ä", "b"] * 5})
    steps = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder="passthrough")
    model = make_pipeline(steps, LogisticRegression()).fit(frame, [0, 1, 0, 1] * 5)
    kept = tensors(convert(model, frame).background)
    assert kept["city"]["datatype"] == "BYTES"
    assert set(kept["city"]["data"]) == {"a", "b", "ä"}
    assert kept["age"]["shape"] == kept["city"]["shape"] == [20, 1]


def test_missing_values_are_null_and_rows_with_infinities_are_left_out() -> None:
    inputs = {"x": np.array([[1.0], [np.nan], [np.inf], [4.0]], np.float32)}
    specs: Any = [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}]
    columns: Any = [{"name": "a", "type": "float", "input": "x", "index": 0}]
    kept = tensors(module.background(inputs, specs, columns, 10))["x"]["data"]
    assert sorted(kept, key=str) == [1.0, 4.0, None]
    assert module.background(inputs, specs, [], 10) is None
    fixed: Any = [{**specs[0], "shape": [4, 1]}]
    assert module.background(inputs, fixed, columns, 10) is None


def test_long_texts_keep_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    inputs = {"x": np.array([["word " * 20]] * 64, object)}
    specs: Any = [{"name": "x", "datatype": "BYTES", "shape": [-1, 1]}]
    columns: Any = [{"name": "text", "type": "string", "input": "x"}]
    assert tensors(module.background(inputs, specs, columns, 64))["x"]["shape"] == [8, 1]


def test_more_than_may_be_kept_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 1000 rows"):
        convert(MODEL, ROWS, background=1001)
