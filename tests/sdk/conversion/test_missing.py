"""Columns of objects with None, NaN or pandas.NA answer as the original, or are refused by name."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tollway.conversion import (
    ConversionError,
    convert,
    decode_probabilities,
    encode_inputs,
)
from tollway.conversion.runtime import Session

ROWS = 300
X = np.random.default_rng(0).normal(size=ROWS)


def column(values: list[Any]) -> pd.Series:
    picks = np.random.default_rng(1).integers(0, len(values), ROWS)
    return pd.Series([values[i] for i in picks], dtype=object)


def one_hot() -> OneHotEncoder:
    return OneHotEncoder(handle_unknown="ignore")


def filled(missing: object, then: Any = None) -> Any:
    imputer = SimpleImputer(strategy="most_frequent", missing_values=missing)
    return imputer if then is None else make_pipeline(imputer, then)


def fitted(c: pd.Series, step: Any) -> tuple[Any, pd.DataFrame]:
    frame = pd.DataFrame({"x": X, "c": c})
    prepared = ColumnTransformer([("n", StandardScaler(), ["x"]), ("c", step, ["c"])])
    return make_pipeline(prepared, LogisticRegression()).fit(frame, X > 0), frame


def check(model: Any, given: pd.DataFrame, asked: pd.DataFrame) -> None:
    converted = convert(model, given)
    inputs = encode_inputs(converted.inputs, converted.columns, asked)
    outputs = Session(converted.onnx_bytes).run(inputs)
    got = decode_probabilities(outputs, converted.task, converted.labels)
    np.testing.assert_allclose(got, model.predict_proba(asked), atol=1e-5)


@pytest.mark.parametrize("values", [["a", "b"], [True, False], [1, 2, 3]], ids=str)
@pytest.mark.parametrize(
    ("missing", "step"),
    [
        (None, one_hot()),
        (np.nan, one_hot()),
        (None, OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)),
        (None, filled(None, one_hot())),
        (None, filled(np.nan, one_hot())),
        (np.nan, filled(np.nan, one_hot())),
    ],
    ids=["None", "NaN", "None as a number", "None filled", "None let pass", "NaN filled"],
)
def test_a_missing_object_is_what_the_original_takes_it_for(
    missing: object, values: list[Any], step: Any
) -> None:
    model, frame = fitted(column([*values, missing]), step)
    check(model, frame, frame)


@pytest.mark.parametrize("missing", [None, np.nan], ids=str)
@pytest.mark.parametrize("values", [[True, False], [1, 2, 3]], ids=str)
def test_filled_booleans_and_integers_are_numbers_to_the_next_step(
    missing: object, values: list[Any]
) -> None:
    model, frame = fitted(column([*values, missing]), filled(missing))
    check(model, frame, frame)


def test_none_is_known_from_the_model_where_the_rows_given_have_none_of_it() -> None:
    model, frame = fitted(column(["a", "b", None]), one_hot())
    check(model, frame[frame["c"].notna()], frame)


@pytest.mark.parametrize("dtype", ["string", "category", "str"])
def test_the_types_of_pandas_have_one_kind_of_missing_value(dtype: str) -> None:
    missing = pd.NA if dtype == "string" else np.nan
    model, frame = fitted(column(["a", "b", None]).astype(dtype), filled(missing, one_hot()))
    check(model, frame, frame)


def test_columns_may_differ_in_how_they_spell_a_missing_value() -> None:
    frame = pd.DataFrame({"c": column(["a", "b", None]), "d": column(["p", "q", np.nan])[::-1]})
    prepared = ColumnTransformer([("both", filled(np.nan, one_hot()), ["c", "d"])])
    model = make_pipeline(prepared, LogisticRegression()).fit(frame, X > 0)
    check(model, frame, frame)


def test_a_column_that_mixes_kinds_is_refused_with_its_step_and_the_way_out() -> None:
    model, frame = fitted(column(["a", "b", None, np.nan]), one_hot())
    with pytest.raises(ConversionError) as caught:
        convert(model, frame)
    text = str(caught.value)
    assert "pipeline step 'columntransformer' → 'c': OneHotEncoder" in text
    assert "column 'c' holds" in text
    assert "Way out: make them one before fit" in text
    frame["c"] = frame["c"].where(frame["c"].notna(), None)
    check(model.fit(frame, X > 0), frame, frame)


def test_mixed_kinds_do_no_harm_where_the_model_takes_them_for_the_same() -> None:
    prepared = ColumnTransformer([("n", SimpleImputer(), ["c"]), ("x", "passthrough", ["x"])])
    frame = pd.DataFrame({"x": X, "c": column([1.5, 2.5, None, np.nan])})
    model = make_pipeline(prepared, LogisticRegression()).fit(frame, X > 0)
    check(model, frame, frame)
