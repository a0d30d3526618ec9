"""Contributions beside those of the package ``shap``, on the same background rows.

Its ExactExplainer asks for every coalition; its LinearExplainer reads linear models' coefficients;
its PermutationExplainer is what estimates are compared with.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shap
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from serving.engine import Engine
from tests.serving.explaining import contributions, engine_of, explained

Values = Any
GENERATOR = np.random.default_rng(1)
BACKGROUND = 30


def rows_of(folder: Path) -> Values:
    """The background rows of a model of one matrix."""
    [tensor] = json.loads((folder / "background.json").read_bytes())["request"]["inputs"]
    return np.array(tensor["data"], np.float64).reshape(tensor["shape"])


def made(model: Any, X: Any, folder: Path) -> tuple[Engine, Values]:
    """An engine and its background rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine = engine_of(model, X, folder, background=BACKGROUND)
    return engine, rows_of(folder)


@pytest.mark.parametrize(
    "model", [LinearRegression(), make_pipeline(StandardScaler(), Ridge(alpha=3.0))]
)
def test_linear_regression_is_exact_as_its_coefficients_say(model: Any, tmp_path: Path) -> None:
    X, y = load_diabetes(return_X_y=True)
    model.fit(X, y)
    engine, rows = made(model, X, tmp_path)
    answer = explained(engine, {"instances": X[:7].tolist()})
    assert answer["method"] == "additive"
    last, scale = (model, 1.0) if len(getattr(model, "steps", [])) == 0 else (
        model[-1], model[0].scale_,
    )  # fmt: skip
    explainer = shap.LinearExplainer(
        (last.coef_ / scale, 0.0), shap.maskers.Independent(rows, max_samples=len(rows))
    )
    expected = explainer.shap_values(X[:7])
    assert np.allclose(contributions(answer), expected, rtol=1e-4, atol=1e-4 * np.ptp(y))


def test_two_classes_are_exact_in_log_odds(tmp_path: Path) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    engine, rows = made(model, X, tmp_path)
    answer = explained(engine, {"instances": X[:9].tolist()})
    assert (answer["method"], answer["space"]) == ("additive", "log_odds")
    scaled = model[0].transform(rows)
    masker = shap.maskers.Independent(scaled, max_samples=len(rows))
    expected = shap.LinearExplainer(model[1], masker).shap_values(model[0].transform(X[:9]))
    assert np.allclose(contributions(answer, "1"), expected, atol=1e-4)
    assert np.allclose(contributions(answer, "0"), -expected, atol=1e-4)
    margins = [row["prediction"]["1"] for row in answer["explanations"]]
    assert np.allclose(margins, model.decision_function(X[:9]), rtol=1e-4, atol=1e-4)
    assert max(np.abs(margins)) > 17, "further than FP32 probabilities could tell"


def test_several_classes_are_exact_around_their_mean(tmp_path: Path) -> None:
    X, y = load_wine(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    engine, rows = made(model, X, tmp_path)
    answer = explained(engine, {"instances": X[::40].tolist()})
    assert (answer["method"], answer["space"]) == ("additive", "log_ratio")
    masker = shap.maskers.Independent(model[0].transform(rows), max_samples=len(rows))
    expected = shap.LinearExplainer(model[1], masker).shap_values(model[0].transform(X[::40]))
    expected = expected - expected.mean(axis=2, keepdims=True)
    for kind in range(3):
        found = contributions(answer, str(kind))
        assert np.allclose(found, expected[:, :, kind], atol=1e-4)


def test_scores_of_a_linear_support_vector_machine_are_exact(tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), LinearSVC()).fit(X, y)
    engine, rows = made(model, X, tmp_path)
    answer = explained(engine, {"instances": X[::30].tolist()})
    assert (answer["method"], answer["output"], answer["space"]) == ("additive", "scores", "output")
    difference = (X[::30] - rows.mean(axis=0)) / model[0].scale_
    for kind in range(3):
        found = contributions(answer, str(kind))
        assert np.allclose(found, difference * model[1].coef_[kind], atol=1e-4)


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(8, random_state=0),
        GradientBoostingClassifier(n_estimators=10, random_state=0),
        SGDClassifier(loss="log_loss", random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_classifiers_of_few_columns_are_exact_in_probabilities(model: Any, tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    model.fit(X, y)
    engine, rows = made(model, X, tmp_path)
    answer = explained(engine, {"instances": X[::40].tolist()})
    assert (answer["method"], answer["space"]) == ("enumeration", "probability")
    masker = shap.maskers.Independent(rows, max_samples=len(rows))
    expected = shap.ExactExplainer(model.predict_proba, masker)(X[::40]).values
    for kind in range(3):
        # FP32 trees of the graph and FP64 ones may differ where a mixture meets a threshold.
        assert np.allclose(contributions(answer, str(kind)), expected[:, :, kind], atol=2e-3)


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingRegressor(max_iter=20, max_depth=3),
        make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=[8], max_iter=300, random_state=0)
        ),
    ],
    ids=["trees", "network"],
)
def test_estimates_are_as_close_as_those_of_the_permutation_explainer(
    model: Any, tmp_path: Path
) -> None:
    X, y = load_diabetes(return_X_y=True)
    X = X[:, :8].astype(np.float32).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    engine, rows = made(model, X, tmp_path)
    request = {"instances": X[:4].tolist(), "parameters": {"permutations": 10}}
    answer = explained(engine, request)
    assert answer["method"] == "permutation"
    masker = shap.maskers.Independent(rows, max_samples=len(rows))
    exact = shap.ExactExplainer(model.predict, masker)(X[:4]).values
    theirs = shap.PermutationExplainer(model.predict, masker, seed=0)(
        X[:4], max_evals=10 * (2 * 8 + 1), silent=True
    ).values
    scale = np.abs(exact).max()

    def error(found: Values) -> float:
        return float(np.sqrt(np.mean((found - exact) ** 2)) / scale)

    # Antithetic estimates of mild interactions: both are within a few hundredths of the largest.
    assert error(contributions(answer)) < max(2 * error(theirs), 0.02)
    assert error(contributions(answer)) < 0.05
    more = {**request, "parameters": {"permutations": 100}}
    better = explained(engine, more)
    assert error(contributions(better)) < 0.02


def table() -> tuple[pd.DataFrame, Values]:
    """Columns of four types, with missing values."""
    size = 160
    frame = pd.DataFrame(
        {
            "age": np.where(GENERATOR.random(size) < 0.1, np.nan, GENERATOR.normal(40, 9, size)),
            "visits": GENERATOR.integers(0, 9, size),
            "city": GENERATOR.choice(["Kyiv", "Oslo", "Wien"], size),
            "member": GENERATOR.random(size) < 0.5,
        }
    )
    return frame, (frame["visits"] > 4) ^ (frame["city"] == "Oslo")


def mixed(last: Any) -> Any:
    """A pipeline that makes seven numbers of four columns."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    steps = [
        ("numbers", numbers, ["age", "visits"]),
        ("kinds", OneHotEncoder(), ["city", "member"]),
    ]
    return make_pipeline(ColumnTransformer(steps), last)


def instances(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as JSON has them."""
    rows = json.loads(frame.to_json(orient="records"))
    assert isinstance(rows, list)
    return rows


def test_columns_are_those_of_the_frame_and_linear_pipelines_over_them_are_exact(
    tmp_path: Path,
) -> None:
    frame, y = table()
    model = mixed(LogisticRegression()).fit(frame, y)
    engine = engine_of(model, frame, tmp_path, background=BACKGROUND)
    answer = explained(engine, {"instances": instances(frame[:6])})
    assert (answer["method"], answer["space"]) == ("additive", "log_odds")
    assert answer["classes"] == [False, True]
    inputs = json.loads((tmp_path / "background.json").read_bytes())["request"]["inputs"]
    rows = pd.DataFrame({t["name"]: t["data"] for t in inputs})
    rows["age"] = rows["age"].astype(float)
    weights = model[-1].coef_[0]
    prepare = model[0]
    parts = prepare.transform(frame[:6]) - prepare.transform(rows[frame.columns]).mean(axis=0)
    widths = [slice(0, 1), slice(1, 2), slice(2, 5), slice(5, 7)]
    expected = np.stack([(parts * weights)[:, width].sum(axis=1) for width in widths], axis=1)
    found = contributions(answer, "true")
    assert list(answer["explanations"][0]["contributions"]["true"]) == list(frame.columns)
    assert np.allclose(found, expected, atol=1e-4)


def test_trees_over_categories_and_missing_values_add_up(tmp_path: Path) -> None:
    frame, y = table()
    model = mixed(RandomForestClassifier(6, max_depth=4, random_state=0)).fit(frame, y)
    engine = engine_of(model, frame, tmp_path, background=BACKGROUND)
    answer = explained(engine, {"instances": instances(frame[:6])})
    expected = model.predict_proba(frame[:6])
    for row, probabilities in zip(answer["explanations"], expected, strict=True):
        total = row["base_value"]["true"] + sum(row["contributions"]["true"].values())
        assert total == pytest.approx(probabilities[1], abs=1e-4)


def test_a_text_is_one_column(tmp_path: Path) -> None:
    texts = [" ".join(GENERATOR.choice(["good", "bad", "day", "film"], 6)) for _ in range(80)]
    liked = np.array([text.count("good") > text.count("bad") for text in texts])
    exact = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, liked)
    engine = engine_of(exact, texts, tmp_path, background=BACKGROUND)
    answer = explained(engine, {"instances": texts[:5]})
    assert answer["method"] == "additive"
    for row, text in zip(answer["explanations"], texts[:5], strict=True):
        [part] = row["contributions"]["true"].values()
        assert row["base_value"]["true"] + part == pytest.approx(
            row["prediction"]["true"], abs=1e-4
        )
        assert row["prediction"]["true"] == pytest.approx(
            exact.decision_function([text])[0], abs=1e-3
        )
