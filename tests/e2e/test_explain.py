"""Explanations of deployed versions, on the real stack: from SDK and command line to the engine."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import shap
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tollway
from tests.e2e.stack import RunningStack
from tollway import cli

GENERATOR = np.random.default_rng(0)


@pytest.fixture(scope="module")
def client(stack: RunningStack) -> Iterator[tollway.Client]:
    token = (stack.data / "admin.token").read_text().strip()
    with tollway.Client(stack.url, token) as made:
        yield made


@pytest.fixture(scope="module")
def flowers(client: tollway.Client) -> pd.DataFrame:
    """A forest of three classes with the traffic, and rows for it."""
    data = load_iris(as_frame=True)
    kinds = data.target.map(dict(enumerate(data.target_names)))
    model = RandomForestClassifier(10, random_state=0).fit(data.data, kinds)
    client.deploy(model, "flowers", X=data.data, y=kinds, background=30, progress=False)
    return data.data


@pytest.fixture(scope="module")
def reviews(client: tollway.Client) -> pd.DataFrame:
    """A linear classifier over a text and a number."""
    words = np.array(["good", "bad", "fine", "poor", "great", "awful", "nice", "sad"])
    texts = [" ".join(GENERATOR.choice(words, 5)) for _ in range(120)]
    frame = pd.DataFrame({"text": texts, "stars": GENERATOR.normal(3, 1, 120)})
    liked = frame["text"].str.contains("good|great|nice") & (frame["stars"] > 2)
    steps = ColumnTransformer(
        [("text", TfidfVectorizer(), "text"), ("stars", StandardScaler(), ["stars"])]
    )
    model = make_pipeline(steps, LogisticRegression()).fit(frame, liked.map({True: 1, False: 0}))
    client.deploy(model, "reviews", X=frame, progress=False, background=25)
    return frame


def test_rows_are_explained_as_predict_takes_them(
    client: tollway.Client, flowers: pd.DataFrame
) -> None:
    found = client.explain("flowers", flowers[:25])
    assert found.contributions.shape == (25, 3, 4)
    assert found.classes == ["setosa", "versicolor", "virginica"]
    assert (found.method, found.space, found.version) == ("enumeration", "probability", 1)
    expected = client.predict_proba("flowers", flowers[:25])
    assert np.allclose(found.predictions, expected, atol=1e-6)
    assert np.allclose(found.base_values + found.contributions.sum(axis=2), expected, atol=1e-5)
    assert np.all(found.additivity_errors < 1e-5)
    by_list = client.explain("flowers", flowers[:2].to_numpy().tolist())
    assert np.array_equal(by_list.contributions, found.contributions[:2])


def test_a_frame_has_a_line_for_each_row_and_class(
    client: tollway.Client, flowers: pd.DataFrame
) -> None:
    frame = client.explain("flowers", flowers[:2]).frame()
    assert list(frame.columns) == list(flowers.columns)
    assert frame.index.names == ["row", "class"]
    assert frame.shape == (6, 4)
    likely = client.explain("flowers", flowers[[True, False] * 75][:3], classes="predicted")
    assert likely.classes == ["setosa"] * 3
    assert likely.frame().index.tolist() == [(row, "setosa") for row in range(3)]


def test_a_linear_text_classifier_is_exact_in_log_odds(
    client: tollway.Client, reviews: pd.DataFrame
) -> None:
    found = client.explain("reviews", reviews[:5])
    assert (found.method, found.space, found.columns) == (
        "additive", "log_odds", ["text", "stars"],
    )  # fmt: skip
    probabilities = client.predict_proba("reviews", reviews[:5])
    odds = np.log(probabilities[:, 1] / probabilities[:, 0])
    assert found.classes == [0, 1]
    assert np.allclose(found.predictions[:, 1], odds, atol=1e-3)
    as_is = client.explain("reviews", reviews[:5], method="permutation")
    assert as_is.space == "probability"
    assert np.allclose(as_is.predictions, probabilities, atol=1e-6)


def test_contributions_of_the_whole_stack_are_those_of_the_package_shap(
    client: tollway.Client, flowers: pd.DataFrame, stack: RunningStack
) -> None:
    version = client.version("flowers", 1)
    background = version.manifest.background
    assert background is not None
    answer = httpx.get(
        f"{stack.url}/api/v1/blobs/{background.digest}",
        headers={"Authorization": f"Bearer {(stack.data / 'admin.token').read_text().strip()}"},
    )
    rows = np.array(answer.json()["request"]["inputs"][0]["data"]).reshape(30, 4)
    names = list(flowers.columns)

    def predict(values: Any) -> Any:
        return client.predict_proba("flowers", pd.DataFrame(values, columns=names))

    masker = shap.maskers.Independent(rows, max_samples=30)
    expected = shap.ExactExplainer(predict, masker)(flowers[:2].to_numpy()).values
    found = client.explain("flowers", flowers[:2]).contributions.transpose(0, 2, 1)
    assert np.allclose(found, expected, atol=1e-6)


def test_the_command_shows_the_largest_first_and_gives_json(
    client: tollway.Client,
    flowers: pd.DataFrame,
    stack: RunningStack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Any,
) -> None:
    monkeypatch.setenv("TOLLWAY_URL", stack.url)
    monkeypatch.setenv("TOLLWAY_TOKEN", (stack.data / "admin.token").read_text().strip())
    file = tmp_path / "rows.csv"
    flowers[:2].to_csv(file, index=False)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["tollway", "explain", "flowers", str(file), *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    header, *lines = run("--top", "2").splitlines()
    assert header.split("\t") == ["row", "class", "column", "contribution"]
    cells = [line.split("\t") for line in lines]
    assert [cell[:2] for cell in cells] == [["0", "setosa"]] * 2 + [["1", "setosa"]] * 2
    assert abs(float(cells[0][3])) >= abs(float(cells[1][3]))
    document = json.loads(run("--class", "virginica", "--json"))
    assert [item["class"] for item in document["explanations"]] == ["virginica"] * 2
    item = document["explanations"][0]
    total = item["base_value"] + sum(item["contributions"].values())
    assert total == pytest.approx(item["prediction"], abs=1e-6)


def test_scopes_usage_and_headers(
    client: tollway.Client, flowers: pd.DataFrame, stack: RunningStack
) -> None:
    body = {"instances": flowers[:2].to_numpy().tolist()}
    url = f"{stack.url}/v1/models/flowers:explain"
    key = client.create_key(application="shop", model="flowers")
    answer = httpx.post(url, json=body, headers={"X-API-Key": key.secret})
    assert answer.status_code == 200
    assert answer.headers["Tollway-Version"] == "1"
    assert "infer;dur=" in answer.headers["Server-Timing"]
    assert len(answer.json()["explanations"]) == 2
    labelled = httpx.post(
        f"{stack.url}/v1/models/flowers/labels/stable:explain",
        json=body,
        headers={"X-API-Key": key.secret},
    )
    assert labelled.json() == answer.json()
    plain = client.create_key(application="shop", model="flowers", scopes=["predict"])
    refused = httpx.post(url, json=body, headers={"X-API-Key": plain.secret})
    assert refused.status_code == 403
    assert "scope 'explain'" in refused.json()["error"]


def test_a_version_without_rows_and_one_of_labels_alone_say_so(
    client: tollway.Client, flowers: pd.DataFrame
) -> None:
    model = LogisticRegression(max_iter=500).fit(flowers, np.arange(len(flowers)) % 2)
    client.deploy(model, "bare", X=flowers, background=0, progress=False)
    with pytest.raises(tollway.InvalidRequestError, match="has no background rows: deploy it"):
        client.explain("bare", flowers[:1])
