"""What cannot be converted is refused with the step, the reason and the ways out."""

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from tests.sdk.conversion.data import flowers, frame, mixed_preprocessing, several
from tests.sdk.conversion.refused import REFUSED, MyTransformer, halve
from tollway.conversion import ConversionError, convert
from tollway.errors import TollwayError


def refusal(model: object, X: object) -> str:
    with pytest.raises(ConversionError) as refused:
        convert(model, X)
    return str(refused.value)


def test_the_step_is_named_by_its_path_in_the_pipeline() -> None:
    example = REFUSED["own transformer classes"]()
    text = refusal(example.model, example.X)
    assert text.startswith("pipeline step 'prep' → 'custom': MyTransformer cannot be converted: ")
    assert "docs/reference/model-families.md" in text
    assert "deploy the .onnx file" in text


def test_a_step_inside_a_column_transformer_is_named() -> None:
    X, y = several()
    prep = ColumnTransformer([("mine", MyTransformer(), [0, 1])], remainder="passthrough")
    model = Pipeline([("prep", prep), ("model", SVC())]).fit(X, y)
    assert "pipeline step 'prep' → 'mine': MyTransformer" in refusal(model, X)


def test_a_function_is_named_with_the_functions_that_would_do() -> None:
    X, y = several()
    model = make_pipeline(FunctionTransformer(halve), StandardScaler(), SVC()).fit(X, y)
    text = refusal(model, X)
    assert "'functiontransformer': FunctionTransformer" in text
    assert "'halve'" in text
    assert "np.log1p" in text


def test_native_categoricals_say_how_to_go_without() -> None:
    example = REFUSED["`HistGradientBoostingClassifier` with native categoricals"]()
    text = refusal(example.model, example.X)
    assert "categorical_features=None" in text
    assert "OrdinalEncoder" in text


def test_an_unfitted_model_is_told_to_fit() -> None:
    assert "call fit before deploy" in refusal(LogisticRegression(), np.zeros((2, 2)))
    assert "call fit before deploy" in refusal(
        make_pipeline(mixed_preprocessing(), HistGradientBoostingClassifier()), frame()[0]
    )


def test_something_that_is_no_model_is_told_what_deploys() -> None:
    text = refusal(object(), np.zeros((2, 2)))
    assert "object is not a model that deploys" in text
    assert "onnx.ModelProto" in text


def test_rows_that_the_model_itself_refuses_are_blamed_on_the_rows() -> None:
    X, y = flowers()
    model = LogisticRegression(max_iter=500).fit(X, y)
    assert "itself fails on the rows of X" in refusal(model, X[:, :3])


def test_rows_without_rows_or_columns_are_refused() -> None:
    X, y = flowers()
    model = LogisticRegression(max_iter=500).fit(X, y)
    assert "X has no rows" in refusal(model, X[:0])
    assert "2-D" in refusal(model, X[:, 0])


def test_every_refusal_is_an_error_of_the_library() -> None:
    assert issubclass(ConversionError, TollwayError)
