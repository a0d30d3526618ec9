"""Small data sets, and ways to fit a model on them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn import compose, impute, linear_model, pipeline, preprocessing
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine


@dataclass(frozen=True)
class Example:
    """A fitted model with the rows to deploy it on."""

    model: Any
    X: Any


@cache
def binary() -> tuple[Any, Any]:
    """Breast cancer, every third row."""
    X, y = load_breast_cancer(return_X_y=True)
    return X[::3], y[::3]


@cache
def several() -> tuple[Any, Any]:
    """Wine: three classes, as strings."""
    X, y = load_wine(return_X_y=True)
    return X, np.asarray(["barolo", "grignolino", "barbera"])[y]


@cache
def flowers() -> tuple[Any, Any]:
    """Iris: three classes of integers, small positive numbers."""
    X, y = load_iris(return_X_y=True)
    return X, y


@cache
def numbers() -> tuple[Any, Any]:
    """Diabetes, every second row: a positive target."""
    X, y = load_diabetes(return_X_y=True)
    return X[::2], y[::2]


@cache
def texts() -> tuple[Any, Any]:
    """Short messages of two kinds, in more than one script."""
    good = [
        "A wonderful film, well told", "great acting and a great story", "Świetny film, polecam",
        "I loved every minute", "brilliant, moving, funny", "прекрасный фильм",
    ]  # fmt: skip
    bad = [
        "A dull film, badly told", "poor acting and no story", "Słaby film, nie polecam",
        "I hated every minute", "boring, flat, long", "скучный фильм",
    ]  # fmt: skip
    return good + bad, ["good"] * len(good) + ["bad"] * len(bad)


@cache
def frame() -> tuple[Any, Any]:
    """A frame with integers, floats, booleans, strings, categories and missing values."""
    rng = np.random.default_rng(3)
    n = 160
    age = rng.integers(18, 80, n)
    income = rng.normal(30_000, 9_000, n).round(2)
    income[rng.random(n) < 0.1] = np.nan
    city = rng.choice(["Kraków", "Łódź", "Berlin", "São Paulo"], n).astype(object)
    city[rng.random(n) < 0.08] = np.nan
    member = rng.random(n) < 0.5
    grade = pd.Categorical(rng.choice(["low", "mid", "high"], n))
    score = (age - 40) / 20 + member + (city == "Berlin") + rng.normal(0, 0.5, n)
    table = pd.DataFrame(
        {"age": age, "income": income, "city": city, "member": member, "grade": grade}
    )
    return table, (score > 0.5).astype(int)


def mixed_preprocessing() -> Any:
    """Imputing, scaling and encoding, column by column name."""
    return compose.ColumnTransformer(
        [
            (
                "numbers",
                pipeline.make_pipeline(
                    impute.SimpleImputer(strategy="median"), preprocessing.StandardScaler()
                ),
                ["age", "income"],
            ),
            (
                "strings",
                pipeline.make_pipeline(
                    impute.SimpleImputer(strategy="most_frequent"),
                    preprocessing.OneHotEncoder(handle_unknown="ignore"),
                ),
                ["city", "grade"],
            ),
            ("flags", "passthrough", ["member"]),
        ]
    )


def on(data: Callable[[], tuple[Any, Any]], model: Any, scaled: bool = False) -> Example:
    """``model`` fitted on ``data``, behind a scaler if asked."""
    X, y = data()
    if scaled:
        model = pipeline.make_pipeline(preprocessing.StandardScaler(), model)
    return Example(model.fit(X, y), X)


def after(transformer: Any, data: Callable[[], tuple[Any, Any]] = several) -> Example:
    """A transformer in front of a small model that uses its output."""
    X, y = data()
    model = pipeline.make_pipeline(
        transformer, preprocessing.StandardScaler(), linear_model.LogisticRegression(max_iter=300)
    )
    return Example(model.fit(X, y), X)


def alone(transformer: Any, data: Callable[[], tuple[Any, Any]] = flowers) -> Example:
    """A transformer deployed by itself."""
    X, y = data()
    return Example(transformer.fit(X, y), X)


def one_column(data: Callable[[], tuple[Any, Any]]) -> Callable[[], tuple[Any, Any]]:
    """One column of ``data``."""

    def one() -> tuple[Any, Any]:
        X, y = data()
        return X[:, 2:3], y

    return one


def two_targets() -> tuple[Any, Any]:
    """Diabetes with a second target."""
    X, y = numbers()
    return X, np.stack([y, y[::-1] / 2], axis=1)


def whole_numbers() -> tuple[Any, Any]:
    """Iris, rounded down."""
    X, y = flowers()
    return np.floor(X), y


def two_categories() -> tuple[Any, Any]:
    """Two columns of strings."""
    table, y = frame()
    return table[["city", "grade"]].fillna("none").astype(object), y


def with_gaps() -> tuple[Any, Any]:
    """Wine with one value in twenty missing."""
    X, y = several()
    X = X.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.05] = np.nan
    return X, y


def few_numbers() -> tuple[Any, Any]:
    """The first rows of diabetes."""
    X, y = numbers()
    return X[:60], y[:60]
