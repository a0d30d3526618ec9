"""One example of every family that the reference page says does not deploy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn import (
    cluster,
    ensemble,
    feature_extraction,
    gaussian_process,
    impute,
    kernel_ridge,
    linear_model,
    multioutput,
    naive_bayes,
    pipeline,
    preprocessing,
)
from sklearn.base import BaseEstimator, TransformerMixin

from tests.sdk.conversion.data import (
    Example,
    after,
    binary,
    flowers,
    frame,
    on,
    several,
    texts,
    with_gaps,
)


class MyTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer that nobody can convert."""

    def fit(self, X: Any, y: Any = None) -> "MyTransformer":
        self.n_features_in_ = np.shape(X)[1]
        return self

    def transform(self, X: Any) -> Any:
        return np.asarray(X) * 2


def halve(X: Any) -> Any:
    return X / 2


def split_words(text: str) -> list[str]:
    return text.split()


def _categorical_frame() -> tuple[Any, Any]:
    table, y = frame()
    return pd.DataFrame({"age": table["age"], "grade": table["grade"].astype("category")}), y


def _lightgbm() -> Example:
    import lightgbm

    rng = np.random.default_rng(0)
    grade = pd.Categorical(rng.choice(["low", "mid", "high", "top"], 300))
    X = pd.DataFrame({"age": rng.integers(18, 80, 300), "grade": grade})
    y = ((grade == "low") | (grade == "top")).astype(int)
    return Example(lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1).fit(X, y), X)


def _xgboost(**options: Any) -> Example:
    import xgboost

    X, y = _categorical_frame() if options.get("enable_categorical") else binary()
    return Example(xgboost.XGBClassifier(n_estimators=3, n_jobs=1, **options).fit(X, y), X)


def _in_pipeline(step: Any) -> Example:
    X, y = several()
    prep = pipeline.Pipeline([("scale", preprocessing.StandardScaler()), ("custom", step)])
    model = pipeline.Pipeline([("prep", prep), ("model", linear_model.RidgeClassifier())])
    return Example(model.fit(X, y), X)


def _two_labels(model: Any) -> Example:
    X, y = flowers()
    return Example(model.fit(X, np.stack([y, y[::-1]], axis=1)), X)


def _dbscan() -> Example:
    X, _ = flowers()
    return Example(cluster.DBSCAN().fit(X), X)


REFUSED: dict[str, Callable[[], Example]] = {
    "`HistGradientBoostingClassifier` with native categoricals": lambda: on(
        _categorical_frame, ensemble.HistGradientBoostingClassifier(max_iter=3)
    ),
    "`LGBMClassifier` with native categoricals": _lightgbm,
    "`XGBClassifier` with native categoricals": lambda: _xgboost(enable_categorical=True),
    "`XGBClassifier` with another missing value": lambda: _xgboost(missing=-1.0),
    "`FunctionTransformer` over Python code": lambda: after(
        preprocessing.FunctionTransformer(halve)
    ),
    "own transformer classes": lambda: _in_pipeline(MyTransformer()),
    "`TfidfVectorizer` with a custom tokenizer": lambda: on(
        texts,
        pipeline.make_pipeline(
            feature_extraction.text.TfidfVectorizer(tokenizer=split_words, token_pattern=None),
            naive_bayes.MultinomialNB(),
        ),
    ),
    "`CountVectorizer` over characters": lambda: on(
        texts,
        pipeline.make_pipeline(
            feature_extraction.text.CountVectorizer(analyzer="char", ngram_range=(1, 2)),
            naive_bayes.MultinomialNB(),
        ),
    ),
    "`HashingVectorizer`": lambda: on(
        texts,
        pipeline.make_pipeline(
            feature_extraction.text.HashingVectorizer(n_features=16),
            linear_model.LogisticRegression(),
        ),
    ),
    "`MultiOutputClassifier`": lambda: _two_labels(
        multioutput.MultiOutputClassifier(naive_bayes.GaussianNB())
    ),
    "`RandomForestClassifier` with several labels": lambda: _two_labels(
        ensemble.RandomForestClassifier(3)
    ),
    "`GaussianProcessClassifier`": lambda: on(
        binary,
        gaussian_process.GaussianProcessClassifier(
            1.0 * gaussian_process.kernels.RBF(3.0), optimizer=None
        ),
        scaled=True,
    ),
    "`KNNImputer`": lambda: after(impute.KNNImputer(n_neighbors=3), with_gaps),
    "`KernelRidge`": lambda: on(flowers, kernel_ridge.KernelRidge()),
    "`DBSCAN`": _dbscan,
}
