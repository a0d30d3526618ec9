"""From requirements to an approved version with traffic, on the real stack; and what a database
that somebody writes to past control can make a gateway do: nothing."""

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tollway
from tests.e2e.stack import RunningStack
from tollway import cli

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def client(stack: RunningStack) -> Iterator[tollway.Client]:
    token = (stack.data / "admin.token").read_text().strip()
    with tollway.Client(stack.url, token) as made:
        yield made


@pytest.fixture(scope="module")
def sponsor(stack: RunningStack, client: tollway.Client) -> Iterator[tollway.Client]:
    """``ada``, a sponsor who has logged in."""
    headers = {"Authorization": f"Bearer {(stack.data / 'admin.token').read_text().strip()}"}
    user = {"role": "sponsor", "password": PASSWORD}
    httpx.put(f"{stack.url}/api/v1/users/ada", json=user, headers=headers).raise_for_status()
    login = {"name": "ada", "password": PASSWORD}
    session = httpx.post(f"{stack.url}/api/v1/sessions", json=login).raise_for_status().json()
    with tollway.Client(stack.url, session["secret"]) as made:
        yield made


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, pd.Series]:
    data = load_breast_cancer(as_frame=True)
    return data.data.iloc[:, :5], data.target


def estimator(rows: tuple[pd.DataFrame, pd.Series], **fields: float) -> object:
    X, y = rows
    return make_pipeline(StandardScaler(), LogisticRegression(**fields)).fit(X[:300], y[:300])


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tollway", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


def until(look: Callable[[], bool]) -> None:
    """Wait for what other processes bring about within seconds."""
    deadline = time.monotonic() + 20
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_version_has_traffic_only_when_it_meets_the_requirements_and_the_sponsor_says_go(
    stack: RunningStack,
    client: tollway.Client,
    sponsor: tollway.Client,
    rows: tuple[pd.DataFrame, pd.Series],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    X, y = rows
    # By default nothing is required.
    first = client.deploy(estimator(rows), "tumours", X=X[:300], y=y[:300], progress=False)
    assert first.state == "published"
    assert client.requirements("tumours") is None
    client.evaluate("tumours", 1, X[300:], y[300:], importance=False, latency=False)

    wanted = tmp_path / "requirements.json"
    criteria = [
        "accuracy >= 0.999",
        "recall[segment=small] >= 0.5",
        "beats(stable, accuracy, holdout, -0.1)",
    ]
    given = {"sponsor": "ada", "criteria": criteria, "segments": {"small": "'mean radius' < 14"}}
    wanted.write_text(json.dumps(given))
    monkeypatch.setenv("TOLLWAY_URL", stack.url)
    monkeypatch.setenv("TOLLWAY_TOKEN", (stack.data / "admin.token").read_text().strip())
    assert command(monkeypatch, "requirements", "tumours", "--set", str(wanted), "--json") == 0
    assert json.loads(capsys.readouterr().out)["number"] == 1

    with pytest.raises(tollway.GateError, match="has no evidence: evaluate it") as held:
        client.deploy(estimator(rows, C=0.5), "tumours", X=X[:300], y=y[:300], progress=False)
    number = held.value.version
    assert client.version("tumours", number).state == "validated"
    segments = ["'mean radius' < 14"]
    client.evaluate(
        "tumours", number, X[300:], y[300:], segments=segments, importance=False, latency=False
    )
    assert command(monkeypatch, "gate", "tumours", str(number)) == 1
    assert "accuracy >= 0.999\tfailed" in capsys.readouterr().out
    with pytest.raises(tollway.ConflictError, match="short by"):
        sponsor.approve_version("tumours", number)

    client.set_requirements("tumours", given | {"criteria": ["accuracy >= 0.5", *criteria[1:]]})
    assert client.gate("tumours", number).missing == ["the sponsor 'ada' has not approved it"]
    assert client.ask_approval("tumours", number).approval.state == "missing"
    with pytest.raises(tollway.PermissionDeniedError):
        client.approve_version("tumours", number)
    with pytest.raises(tollway.ConflictError, match="has not approved it"):
        client.promote("tumours", number)
    assert sponsor.approve_version("tumours", number, "go").requirements == 2
    assert client.promote("tumours", number).state == "published"
    assert client.model("tumours").aliases["stable"] == number
    assert len(client.predict("tumours", X[:3])) == 3

    client.set_requirements("tumours", given | {"criteria": []})
    assert client.gate("tumours", number).approval.state == "outdated"
    assert client.rollback("tumours").number == 1, "a rollback waits for nobody"
    with pytest.raises(tollway.ConflictError, match="holds no longer"):
        client.promote("tumours", number)


def test_a_deployment_asks_the_sponsor_when_nothing_else_is_missing(
    client: tollway.Client, sponsor: tollway.Client, rows: tuple[pd.DataFrame, pd.Series]
) -> None:
    X, y = rows
    client.deploy(estimator(rows), "asked", X=X[:50], y=y[:50], stage=True, progress=False)
    client.set_requirements("asked", {"sponsor": "ada", "criteria": ["size_mb < 1"]})
    with pytest.raises(tollway.GateError, match="'ada' was asked to `tollway approve asked 2`"):
        client.deploy(estimator(rows, C=0.5), "asked", X=X[:50], y=y[:50], progress=False)
    sponsor.approve_version("asked", 2)
    assert client.promote("asked", 2).state == "published"
    assert [one.decision for one in client.approvals("asked", 2)] == ["approve"]


TAMPERED = {
    "state": {"state": "published"},
    "digest": {"state": "published", "digest": "sha256:" + "0" * 64},
    "approver": {"state": "published", "seal": {"grounds": {"approver": "ada"}}},
    "no seal": {"state": "published", "seal": None},
}


def test_a_change_stream_that_was_written_to_past_control_routes_nothing(
    stack: RunningStack, client: tollway.Client, rows: tuple[pd.DataFrame, pd.Series]
) -> None:
    X, y = rows
    client.deploy(estimator(rows), "staged", X=X[:50], y=y[:50], stage=True, progress=False)
    with sqlite3.connect(stack.data / "control" / "tollway.db", timeout=10) as database:
        query = "SELECT doc FROM changes WHERE kind = 'version' AND key = ? ORDER BY seq DESC"
        (text,) = database.execute(query, ("staged/1",)).fetchone()
        genuine = json.loads(text)
        for name, forged in TAMPERED.items():
            document = genuine | forged
            if forged.get("seal"):
                grounds = genuine["seal"]["grounds"] | {"sponsor": "ada", "approver": "ada"}
                document["seal"] = genuine["seal"] | {"grounds": grounds}
            announce(database, "version", "staged/1", document)
            announce(database, "model", "staged", {"name": "staged", "aliases": {"stable": 1}})
            until(lambda: [one.kind for one in client.alerts()] == ["unverified_version"])
            with pytest.raises(tollway.NotFoundError):
                client.predict("staged", X[:3])
            announce(database, "version", "staged/1", genuine)
            until(lambda: client.alerts() == [])
            assert len(client.predict("staged", X[:3], version=1)) == 3, name


def announce(database: sqlite3.Connection, kind: str, key: str, document: object) -> None:
    """Write a change as somebody does who has the database, and not control's key."""
    database.execute("UPDATE change_stream SET seq = seq + 1")
    (seq,) = database.execute("SELECT seq FROM change_stream").fetchone()
    row = (seq, kind, key, json.dumps(document))
    database.execute("INSERT INTO changes (seq, kind, key, doc) VALUES (?, ?, ?, ?)", row)
    database.commit()
