"""Layouts, names, wrappers and the parts of skl2onnx that had to be put right."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn import (
    calibration,
    compose,
    ensemble,
    impute,
    linear_model,
    model_selection,
    naive_bayes,
    neighbors,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn.datasets import load_wine

from tests.sdk.conversion.data import binary, flowers, frame, numbers, several, with_gaps
from tollway.conversion import Converted, ParityError, convert, decode_predictions, encode_inputs
from tollway.conversion.runtime import Session
from tollway.conversion.training import MOST_ROWS
from tollway.signatures import restored


def outputs_of(converted: Converted, X: object) -> dict[str, Any]:
    return Session(converted.onnx_bytes).run(encode_inputs(converted.inputs, converted.columns, X))


def answers(converted: Converted, X: object) -> Any:
    return decode_predictions(outputs_of(converted, X), converted.task, converted.labels)


def test_a_numeric_frame_is_one_matrix_with_named_columns() -> None:
    X, y = load_wine(return_X_y=True, as_frame=True)
    prep = compose.ColumnTransformer(
        [("scaled", preprocessing.StandardScaler(), ["alcohol", "proline"])],
        remainder="passthrough",
    )
    model = pipeline.make_pipeline(prep, tree.DecisionTreeClassifier(max_depth=3)).fit(X, y)
    converted = convert(model, X)
    assert converted.inputs[0]["name"] == "input"
    assert converted.inputs[0]["shape"] == [-1, 13]
    assert [c["name"] for c in converted.columns] == list(X.columns)
    assert [c["index"] for c in converted.columns] == list(range(13))
    assert answers(converted, X).tolist() == model.predict(X).tolist()


def test_columns_named_as_outputs_get_other_tensor_names() -> None:
    X = pd.DataFrame(
        {"label": [1.0, 2, 3, 4] * 5, "probabilities": list("abab") * 5, "ü/x y": [0.0, 1] * 10}
    )
    y = [0, 1, 0, 1] * 5
    prep = compose.ColumnTransformer(
        [("c", preprocessing.OneHotEncoder(), ["probabilities"])], remainder="passthrough"
    )
    converted = convert(
        pipeline.make_pipeline(prep, linear_model.LogisticRegression()).fit(X, y), X
    )
    assert [c["name"] for c in converted.columns] == list(X.columns)
    assert [i["name"] for i in converted.inputs] == [
        "label.column",
        "probabilities.column",
        "ü/x y",
    ]
    assert [o["name"] for o in converted.outputs] == ["label", "probabilities"]
    assert answers(converted, X).tolist() == y


def test_missing_values_take_the_side_that_each_tree_sends_them_to() -> None:
    X, y = with_gaps()
    for model in (
        tree.DecisionTreeClassifier(max_depth=4, random_state=0),
        ensemble.RandomForestClassifier(5, random_state=0),
        ensemble.HistGradientBoostingClassifier(max_iter=4),
    ):
        converted = convert(model.fit(X, y), X)
        assert answers(converted, X).tolist() == model.predict(X).tolist()
        blank = np.full((1, X.shape[1]), np.nan)
        got = outputs_of(converted, blank)["probabilities"]
        np.testing.assert_allclose(got, model.predict_proba(blank), atol=1e-6)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "gamma", "poisson"])
def test_histogram_boosting_converts_with_every_loss(loss: str) -> None:
    X, y = numbers()
    model = ensemble.HistGradientBoostingRegressor(max_iter=4, loss=loss).fit(X, y)
    np.testing.assert_allclose(answers(convert(model, X), X), model.predict(X), rtol=1e-5)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("p", [1, 2])
def test_neighbours_are_weighted_as_in_the_original(weights: str, p: int) -> None:
    X, y = flowers()
    model = neighbors.KNeighborsClassifier(weights=weights, p=p).fit(X[::2], y[::2])
    if (weights, p) == ("distance", 1):
        with pytest.raises(ParityError, match="Ways out"):
            convert(model, X)
        return
    converted = convert(model, X)
    np.testing.assert_allclose(
        outputs_of(converted, X)["probabilities"], model.predict_proba(X), atol=1e-4
    )


def test_isotonic_calibration_interpolates() -> None:
    X, y = binary()
    inner = pipeline.make_pipeline(preprocessing.StandardScaler(), svm.LinearSVC())
    model = calibration.CalibratedClassifierCV(inner, method="isotonic", cv=2).fit(X, y)
    converted = convert(model, X)
    np.testing.assert_allclose(
        outputs_of(converted, X)["probabilities"], model.predict_proba(X), atol=1e-4
    )


def test_a_threshold_moves_the_label() -> None:
    X, y = binary()
    for threshold in (0.01, 0.99999):
        model = model_selection.FixedThresholdClassifier(
            naive_bayes.GaussianNB(), threshold=threshold
        ).fit(X, y)
        assert answers(convert(model, X), X).tolist() == model.predict(X).tolist()


@pytest.mark.parametrize(
    "encoder",
    [
        preprocessing.OneHotEncoder(handle_unknown="ignore"),
        preprocessing.OneHotEncoder(drop="first", handle_unknown="ignore"),
        preprocessing.OneHotEncoder(min_frequency=40, handle_unknown="infrequent_if_exist"),
        preprocessing.OneHotEncoder(max_categories=2, handle_unknown="infrequent_if_exist"),
        preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        preprocessing.OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=-2
        ),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_encoders_treat_unknown_missing_and_rare_categories_as_the_original(encoder: Any) -> None:
    table, _ = frame()
    X = table[["city", "member", "age"]].copy()
    X["code"] = np.where(np.arange(len(X)) % 7 == 0, np.nan, np.arange(len(X)) % 3)
    model = compose.ColumnTransformer(
        [("encoded", encoder, ["city", "code"])], remainder="passthrough", sparse_threshold=0
    ).fit(X)
    converted = convert(model, X)
    strange = X.head(5).copy()
    strange["city"] = ["", "nowhere", np.nan, "Łódź", "BERLIN"]
    np.testing.assert_allclose(
        answers(converted, strange), np.asarray(model.transform(strange), dtype=float)
    )


def test_string_imputers_fill_missing_strings() -> None:
    table, y = frame()
    X = table[["city", "income"]]
    for options in ({"strategy": "most_frequent"}, {"strategy": "constant", "fill_value": "none"}):
        strings = pipeline.make_pipeline(
            impute.SimpleImputer(**options), preprocessing.OneHotEncoder(handle_unknown="ignore")
        )
        prep = compose.ColumnTransformer(
            [("s", strings, ["city"]), ("n", impute.SimpleImputer(), ["income"])]
        )
        scaled = pipeline.make_pipeline(
            prep, preprocessing.MaxAbsScaler(), linear_model.LogisticRegression()
        ).fit(X, y)
        assert answers(convert(scaled, X), X).tolist() == scaled.predict(X).tolist()


@pytest.mark.parametrize("kind", [bool, float, np.int8, str, object])
def test_labels_of_every_kind_come_back_as_they_were(kind: type) -> None:
    X, y = binary()
    labels = np.where(y, "yes", "no").astype(object) if kind is object else y.astype(kind)
    model = ensemble.RandomForestClassifier(5, random_state=0).fit(X, labels)
    got = answers(convert(model, X), X)
    assert got.tolist() == model.predict(X).tolist()
    if kind is not object:
        assert got.dtype.kind == np.asarray(labels).dtype.kind


def test_float_labels_are_floats_again_after_canonical_json() -> None:
    X, y = binary()
    model = tree.DecisionTreeClassifier(max_depth=2).fit(X, y.astype(float))
    converted = convert(model, X)
    kept = [int(label) for label in converted.labels]  # what RFC 8785 makes of 0.0 and 1.0
    labels = restored(kept, converted.conversion)
    got = decode_predictions(outputs_of(converted, X), converted.task, labels)
    assert got.dtype == model.predict(X).dtype == np.float64
    whole = convert(tree.DecisionTreeClassifier(max_depth=2).fit(X, y), X)
    assert restored([0, 1], whole.conversion) == [0, 1]
    assert "labels" not in whole.conversion


def test_composed_models_convert_through_their_pipelines() -> None:
    X, y = binary()
    linear = pipeline.make_pipeline(
        preprocessing.StandardScaler(), linear_model.LogisticRegression()
    )
    forest = ensemble.RandomForestClassifier(5, random_state=0)
    members = [("linear", linear), ("forest", forest)]
    for model in (
        ensemble.VotingClassifier(members, voting="soft", weights=[1, 3], flatten_transform=True),
        ensemble.VotingClassifier(members, voting="hard"),
        ensemble.StackingClassifier(members, cv=2, final_estimator=naive_bayes.GaussianNB()),
        model_selection.GridSearchCV(linear, {"logisticregression__C": [0.1, 1]}, cv=2),
    ):  # fmt: skip
        converted = convert(model.fit(X, y), X)
        assert answers(converted, X).tolist() == model.predict(X).tolist()


def test_models_on_unscaled_columns_agree() -> None:
    X, y = several()
    for model in (
        svm.SVC(),
        svm.OneClassSVM(gamma=1e-4),
        linear_model.SGDClassifier(random_state=0),
        naive_bayes.GaussianNB(),
    ):
        converted = convert(model.fit(X, y), X)
        assert answers(converted, X).tolist() == model.predict(X).tolist()


def test_a_model_that_knows_its_columns_converts_without_rows() -> None:
    X, y = several()
    model = pipeline.make_pipeline(
        preprocessing.StandardScaler(), linear_model.LogisticRegression()
    ).fit(X, y)
    converted = convert(model)
    assert answers(converted, X).tolist() == model.predict(X).tolist()


def test_large_training_data_is_sampled_the_same_way_each_time() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5 * MOST_ROWS, 3))
    model = linear_model.Ridge().fit(X, X[:, 0])
    first, second = convert(model, X), convert(model, X)
    assert first.parity == second.parity
    assert first.parity is not None
    assert first.parity.rows == MOST_ROWS
    assert first.onnx_bytes == second.onnx_bytes
    assert first.golden == second.golden


def test_progress_is_reported_line_by_line() -> None:
    X, y = numbers()
    lines: list[str] = []
    convert(linear_model.Ridge().fit(X, y), X, progress=lines.append)
    assert lines[0] == "asking the original"
    assert lines[1].startswith("converting (layout matrix, numbers float")


def test_the_original_is_never_changed() -> None:
    X, y = binary()
    tuned = ensemble.VotingClassifier([("nb", naive_bayes.GaussianNB())], voting="soft").fit(X, y)
    before = tuned.get_params()["flatten_transform"], tuned.predict(X).tolist()
    convert(tuned, X)
    assert (tuned.flatten_transform, tuned.predict(X).tolist()) == before


def test_libraries_and_options_are_recorded() -> None:
    X, y = numbers()
    converted = convert(linear_model.Ridge().fit(X, y), X)
    assert {"scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy"} <= set(converted.libraries)
    assert set(converted.conversion) == {"layout", "numbers", "opset", "opset.ai.onnx.ml"}
    onnx.checker.check_model(onnx.load_from_string(converted.onnx_bytes))


def test_importing_the_client_library_loads_none_of_the_heavy_libraries() -> None:
    script = (
        "import sys, tollway.conversion\n"
        "heavy = {'sklearn', 'skl2onnx', 'onnx', 'onnxruntime', 'pandas', 'polars', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"
