"""Evaluations of deployed versions, on the real stack: what is measured is what serves."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tollway
from tests.e2e.stack import RunningStack
from tollway import cli
from tollway.evaluation.evidence import Evidence


@pytest.fixture(scope="module")
def client(stack: RunningStack) -> Iterator[tollway.Client]:
    token = (stack.data / "admin.token").read_text().strip()
    with tollway.Client(stack.url, token) as made:
        yield made


@pytest.fixture(scope="module")
def tumours(client: tollway.Client) -> tuple[tollway.Version, pd.DataFrame, pd.Series, object]:
    """A staged classifier of twelve columns, and rows that it has not seen."""
    data = load_breast_cancer(as_frame=True)
    X = data.data.iloc[:, :12]
    y = data.target.map({0: "malignant", 1: "benign"})
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:300], y[:300])
    version = client.deploy(model, "tumours", X=X[:300], y=y[:300], stage=True, progress=False)
    return version, X[300:], y[300:], model


def test_a_staged_classifier_is_measured_as_scikit_learn_measures_its_estimator(
    client: tollway.Client, tumours: tuple[tollway.Version, pd.DataFrame, pd.Series, object]
) -> None:
    version, X, y, model = tumours
    radius = X["mean radius"]
    steps: list[str] = []

    found = client.evaluate(
        "tumours",
        version.number,
        X,
        y,
        segments=["'mean radius' < 12", "'mean radius'>=12 and 'mean texture'>20"],
        latency_requests=30,
        importance_rows=100,
        importance_repeats=2,
        progress=steps.append,
    )  # fmt: skip

    predicted, scores = model.predict(X), model.predict_proba(X)  # type: ignore[attr-defined]
    assert version.state == "validated", "it has no traffic"
    assert found.manifest_digest == version.digest
    assert (found.rows, found.main_metric, found.positive) == (len(X), "accuracy", "malignant")
    wanted = {
        "accuracy": sk.accuracy_score(y, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(y, predicted),
        "recall": sk.recall_score(y, predicted, pos_label="malignant"),
        "precision": sk.precision_score(y, predicted, pos_label="malignant"),
        "f1_macro": sk.f1_score(y, predicted, average="macro"),
        "roc_auc": sk.roc_auc_score(y == "malignant", scores[:, 1]),
        "log_loss": sk.log_loss(y, scores),
        "brier": sk.brier_score_loss(y == "malignant", scores[:, 1]),
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=1e-4)
    for one in found.metrics.values():
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high
    small = next(one for one in found.segments if one.segment == '"mean radius"<12')
    mask = (radius < 12).to_numpy()
    assert small.rows == mask.sum()
    assert small.metrics["accuracy"].value == pytest.approx(
        sk.accuracy_score(y[mask], predicted[mask])
    )
    assert [one.label for one in found.classes] == ["benign", "malignant"]
    assert {one.column for one in found.importance} == set(X.columns)
    assert found.importance[0].mean > 0
    assert found.latency is not None
    assert (found.latency.requests, found.latency.measured) == (30, "engine")
    assert 0 < found.latency.p50_ms <= found.latency.p99_ms
    assert found.digest.startswith("sha256:")
    assert client.evidence("tumours", version.number) == [found]
    assert any("scoring" in step for step in steps)


def test_the_same_evaluation_again_is_the_same_but_for_the_time_that_it_took(
    client: tollway.Client, tumours: tuple[tollway.Version, pd.DataFrame, pd.Series, object]
) -> None:
    version, X, y, _ = tumours

    def again(rows: object) -> Evidence:
        return client.evaluate(
            "tumours",
            version.number,
            rows,
            y,
            latency=False,
            importance=False,
            rows_name="again",
            progress=False,
        )

    first, second = again(X), again(X.to_dict("records"))
    other = again(X[::-1])

    assert first == second, "whatever form the rows come in; and it is kept once"
    assert other.rows_digest != first.rows_digest
    assert (
        len([e for e in client.evidence("tumours", version.number) if e.rows_name == "again"]) == 2
    )


def test_a_regressor_and_a_bad_request(client: tollway.Client) -> None:
    X, y = load_diabetes(return_X_y=True)
    model = LinearRegression().fit(X[:300], y[:300])
    version = client.deploy(model, "progress", X=X[:300], y=y[:300], progress=False)

    found = client.evaluate(
        "progress", version.number, X[300:], y[300:], latency=False, importance=False,
        segments={"low": y[300:] < 100}, progress=False,
    )  # fmt: skip

    predicted = model.predict(X[300:])
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(y[300:], predicted), rel=1e-4)
    assert found["r2"] == pytest.approx(sk.r2_score(y[300:], predicted), rel=1e-4)
    assert found["mape"] == pytest.approx(
        sk.mean_absolute_percentage_error(y[300:], predicted), rel=1e-4
    )
    for wrong in ({"metrics": ["accuracy"]}, {"segments": ["x99<1"]}, {"segments": ["x0<"]}):
        with pytest.raises(tollway.InvalidRequestError):
            client.evaluate("progress", version.number, X, y, progress=False, **wrong)  # type: ignore[arg-type]
    with pytest.raises(tollway.NotFoundError):
        client.evaluate("progress", 99, X, y, progress=False)


def test_the_commands_measure_and_show(
    stack: RunningStack,
    tumours: tuple[tollway.Version, pd.DataFrame, pd.Series, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    version, X, y, _ = tumours
    monkeypatch.setenv("TOLLWAY_URL", stack.url)
    monkeypatch.setenv("TOLLWAY_TOKEN", (stack.data / "admin.token").read_text().strip())
    file = tmp_path / "rows.csv"
    X.assign(truth=y, group=np.where(X["mean radius"] < 12, "small", "large")).to_csv(
        file, index=False
    )

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["tollway", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert ended.value.code in (0, None), said.err
        return said.out

    made = json.loads(
        run(
            "evaluate", "tumours", str(version.number), str(file), "--target", "truth",
            "--segments", "group", "--rows-name", "shop", "--no-latency", "--json",
        )
    )  # fmt: skip
    text = run("evidence", "tumours", str(version.number), "--rows-name", "shop")

    assert {one["segment"] for one in made["segments"]} == {"group==large", "group==small"}
    for said in ("shop, 269", "accuracy", "group==small", "malignant", made["digest"], "█"):
        assert said in text
