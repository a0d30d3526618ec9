"""What the demo deploys: trained on data that scikit-learn ships, the same on every run."""

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Parts = tuple[pd.DataFrame, pd.DataFrame, "pd.Series[float]", "pd.Series[float]"]
"""Rows to learn from and rows to test with, then their truth in the same order."""
SEED = 0
ROWS = 2
"""That the curl lines send."""


class Estimator(Protocol):
    """What is used here of scikit-learn's."""

    def fit(self, X: pd.DataFrame, y: "pd.Series[float]") -> "Estimator":
        """Learn."""
        ...

    def predict(self, X: pd.DataFrame) -> npt.NDArray[np.generic]:
        """Answer."""
        ...

    def score(self, X: pd.DataFrame, y: "pd.Series[float]") -> float:
        """Accuracy, or R2."""
        ...


@dataclass(frozen=True)
class Trained:
    """A fitted estimator with what it was trained on, what it has not seen, and its answers."""

    name: str
    changes: str
    """What is new in it, in a sentence: consumers read it as the version's description."""
    estimator: Estimator
    X: pd.DataFrame
    y: "pd.Series[float]"
    X_test: pd.DataFrame
    y_test: "pd.Series[float]"
    rows: object
    """Rows to call it with, which it has not seen, in the form that it was trained on."""
    predictions: npt.NDArray[np.generic]
    """The estimator's own answers for ``rows``."""
    probabilities: npt.NDArray[np.float64] | None
    """Those of a classifier; None of a regressor."""
    metrics: dict[str, float]

    @property
    def description(self) -> str:
        """The same for the same model: tells whether it is deployed already."""
        digest = hashlib.sha256(f"{sklearn.__version__} {self.estimator!r}".encode())
        digest.update(repr(self.metrics).encode())
        digest.update(repr(self.predictions.tolist()).encode())
        return f"{self.changes} Build {digest.hexdigest()[:12]}."


def breast_cancer() -> list[Trained]:
    """Malignant or benign: a linear model, gradient boosting, and the same with more trees."""
    data = load_breast_cancer(as_frame=True)
    answers = data.target_names[data.target].astype(object)
    parts = train_test_split(_short(data.data), answers, random_state=SEED, test_size=0.2)
    return [
        _trained("breast-cancer", "accuracy", changes, make_pipeline(StandardScaler(), one), parts)
        for changes, one in (
            ("The first one: a logistic regression.", LogisticRegression(max_iter=1000)),
            (
                "Gradient boosting over 100 trees, which sees how measurements act together.",
                GradientBoostingClassifier(random_state=SEED),
            ),
            (
                "Shallower trees, 150 of them, each seeing a part of the rows.",
                GradientBoostingClassifier(
                    n_estimators=150,
                    max_depth=2,
                    subsample=0.7,
                    max_features="sqrt",
                    random_state=SEED,
                ),
            ),
        )
    ]


def diabetes() -> list[Trained]:
    """Progression after a year: histogram gradient boosting, and a smoother one."""
    data = load_diabetes(as_frame=True, scaled=False)
    parts = train_test_split(_short(data.data), data.target, random_state=SEED, test_size=0.2)
    return [
        _trained("diabetes", "r2", changes, one, parts)
        for changes, one in (
            (
                "The first one: histogram gradient boosting over 60 trees.",
                HistGradientBoostingRegressor(
                    max_iter=60, max_depth=3, learning_rate=0.05, random_state=SEED
                ),
            ),
            (
                "Smaller steps, and each tree sees half of the patients.",
                GradientBoostingRegressor(
                    n_estimators=120,
                    max_depth=2,
                    learning_rate=0.05,
                    subsample=0.5,
                    random_state=SEED,
                ),
            ),
        )
    ]


def _short(data: pd.DataFrame) -> pd.DataFrame:
    """In 32 bits: all versions of a model take the same then, so that one can follow another."""
    return data.astype(np.float32)


def _trained(name: str, metric: str, changes: str, estimator: Estimator, parts: Parts) -> Trained:
    X, X_test, y, y_test = parts
    fitted = clone(estimator).fit(X, y)
    rows = X_test[:ROWS]
    return Trained(
        name=name,
        changes=changes,
        estimator=fitted,
        X=X,
        y=y,
        X_test=X_test,
        y_test=y_test,
        rows=rows,
        predictions=fitted.predict(rows),
        probabilities=fitted.predict_proba(rows) if metric == "accuracy" else None,
        metrics={metric: float(fitted.score(X_test, y_test))},
    )
