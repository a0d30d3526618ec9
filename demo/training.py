"""The two models: trained on data that scikit-learn ships, the same on every run."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 0


@dataclass(frozen=True)
class Trained:
    """A fitted estimator, the rows that it is proven on, and rows to call it with."""

    name: str
    title: str
    estimator: object
    X: object
    y: object
    rows: object
    """Rows that it has not seen, in the form that it was trained on."""
    predictions: npt.NDArray[np.generic]
    """The estimator's own answers for ``rows``."""
    probabilities: npt.NDArray[np.float64] | None
    metrics: dict[str, float]

    @property
    def fingerprint(self) -> str:
        """The same for the same model: tells whether it is deployed already."""
        digest = hashlib.sha256(f"{sklearn.__version__} {self.estimator!r}".encode())
        digest.update(repr(self.metrics).encode())
        digest.update(repr(self.predictions.tolist()).encode())
        return f"demo model {digest.hexdigest()[:16]}"


def breast_cancer() -> Trained:
    """Malignant or benign, from 30 measurements: a scaled gradient boosting pipeline on numpy."""
    data = load_breast_cancer()
    answers = data.target_names[data.target].astype(object)
    X, X_test, y, y_test = train_test_split(data.data, answers, random_state=SEED, test_size=0.2)
    model = make_pipeline(StandardScaler(), GradientBoostingClassifier(random_state=SEED))
    model.fit(X, y)
    rows = X_test[:2]
    return Trained(
        name="breast-cancer",
        title="Breast cancer: malignant or benign",
        estimator=model,
        X=X,
        y=y,
        rows=rows,
        predictions=model.predict(rows),
        probabilities=model.predict_proba(rows),
        metrics={"accuracy": float(model.score(X_test, y_test))},
    )


def diabetes() -> Trained:
    """Progression after a year, from named columns: histogram gradient boosting on a DataFrame."""
    data = load_diabetes(as_frame=True, scaled=False)
    X, X_test, y, y_test = train_test_split(
        data.data, data.target, random_state=SEED, test_size=0.2
    )
    model = HistGradientBoostingRegressor(
        max_iter=60, max_depth=3, learning_rate=0.05, random_state=SEED
    )
    model.fit(X, y)
    rows = X_test.iloc[:2]
    return Trained(
        name="diabetes",
        title="Diabetes: progression after one year",
        estimator=model,
        X=X,
        y=y,
        rows=rows,
        predictions=model.predict(rows),
        probabilities=None,
        metrics={"r2": float(model.score(X_test, y_test))},
    )
