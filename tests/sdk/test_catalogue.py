"""The catalogue, from Python and from a shell."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import tollway
from tollway.cli import catalogue as commands
from tollway.cli.app import app

QUALITY = {"metric": "accuracy", "value": 0.9375, "rows_name": "holdout", "rows": 500}
ENTRY: dict[str, Any] = {
    "name": "risk",
    "title": "Credit risk",
    "description": "Who pays back",
    "owner": "Team Risk",
    "updated_at": "2026-11-14T22:13:20.000Z",
    "task": "classification",
    "predicts": ["good", "bad"],
    "columns": 1,
    "explains": True,
    "version": 3,
    "versions": 2,
    "state": "published",
    "sunset": None,
    "quality": QUALITY,
    "serving": "ready",
    "latency": {"requests": 90, "errors": 1, "p50_ms": 1.5, "p99_ms": 8.25},
}
RELEASE: dict[str, Any] = {
    "number": 3,
    "state": "published",
    "stable": True,
    "created_at": "2026-11-14T22:13:20.000Z",
    "description": "more rows",
    "deprecation": None,
    "quality": QUALITY,
    "changes": ["knows new class 'bad'"],
}
MODEL: dict[str, Any] = ENTRY | {
    "stable": 3,
    "shown": RELEASE,
    "digest": "sha256:00",
    "manifest": {"columns": [{"name": "age", "type": "integer", "minimum": 18, "maximum": 99}]},
    "releases": [RELEASE, RELEASE | {"number": 2, "stable": False, "changes": []}],
    "evaluation": {
        "created_at": "2026-11-14T22:13:20.000Z",
        "rows_name": "holdout",
        "rows": 500,
        "main_metric": "accuracy",
        "metrics": {"accuracy": {"value": 0.9375, "low": 0.9, "high": 0.95}},
        "classes": [],
        "segments": [],
        "importance": [],
    },
    "requirements": None,
}
SERIES: dict[str, Any] = {
    "step": "minute",
    "start": "2026-11-14T22:00:00.000Z",
    "end": "2026-11-14T23:00:00.000Z",
    "points": [
        {"time": "2026-11-14T22:13:00.000Z", "requests": 9, "errors": 0, "p50_ms": 1.5,
         "p99_ms": None}
    ],
}  # fmt: skip
UNUSED = ENTRY | {"name": "zebra", "quality": None, "latency": None, "owner": None, "title": ""}


def connected(asked: list[tuple[str, dict[str, str]]]) -> Callable[[], tollway.Client]:
    """A server whose catalogue has two pages."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.path, dict(request.url.params)))
        match request.url.path.removeprefix("/api/v1/catalogue"):
            case "":
                last = "after" in request.url.params
                page = {"items": [UNUSED if last else ENTRY], "next": None if last else "1:risk"}
                return httpx.Response(200, json=page | {"total": 2, "choices": {}})
            case "/risk":
                return httpx.Response(200, json=MODEL)
            case "/risk/latency":
                return httpx.Response(200, json=SERIES)
        raise AssertionError(request.url)

    return lambda: tollway.Client("http://server", "token", transport=httpx.MockTransport(answer))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["catalogue", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_search_asks_for_what_is_given_alone_and_reads_every_page() -> None:
    asked: list[tuple[str, dict[str, str]]] = []
    found = connected(asked)().catalogue.search(
        "credit", task="classification", evaluated=True, p99_ms=50, sort="calls"
    )
    assert [one.name for one in found] == ["risk", "zebra"]
    wish = {"search": "credit", "task": "classification", "evaluated": "true", "p99_ms": "50",
            "sort": "calls"}  # fmt: skip
    assert [params for _, params in asked] == [wish, wish | {"after": "1:risk"}]
    assert found[0].latency is not None
    assert found[0].quality is not None
    assert (found[0].latency.p99_ms, found[0].quality.value) == (8.25, 0.9375)
    assert found[1].latency is None


def test_a_model_of_the_catalogue_is_read_with_the_version_that_is_asked_for() -> None:
    asked: list[tuple[str, dict[str, str]]] = []
    client = connected(asked)()
    found = client.catalogue.model("risk")
    client.catalogue.model("risk", version=2)
    assert [params for _, params in asked] == [{}, {"version": "2"}]
    assert found.shown.changes == ("knows new class 'bad'",)
    assert found.evaluation is not None
    assert found.evaluation.metrics["accuracy"].low == 0.9


def test_a_name_that_no_model_has_is_refused_before_anything_is_asked() -> None:
    asked: list[tuple[str, dict[str, str]]] = []
    with pytest.raises(tollway.InvalidRequestError):
        connected(asked)().catalogue.model("../users")
    assert asked == []


def test_the_command_lists_quality_and_latency(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(commands, "Client", connected(asked))
    assert run("search", "credit", "risk", "--no-evaluated") == 0
    assert asked[0][1] == {"search": "credit risk", "evaluated": "false", "sort": "name"}
    heads, *lines = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert dict(zip(heads, lines[0], strict=True)) == {
        "model": "risk", "title": "Credit risk", "version": "3", "state": "published",
        "task": "classification", "predicts": "good, bad", "quality": "accuracy 0.9375",
        "p50 ms": "1.5", "p99 ms": "8.25", "requests": "90", "owner": "Team Risk",
    }  # fmt: skip
    assert dict(zip(heads, lines[1], strict=True))["p99 ms"] == "-"


def test_the_catalogue_without_a_command_lists_everything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "Client", connected([]))
    assert run("--json") == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["risk", "zebra"]


def test_the_command_shows_a_model_with_its_columns_metrics_and_versions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "Client", connected([]))
    assert run("show", "risk") == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert ["age", "integer", "18", "99", "-"] in lines
    assert ["accuracy", "0.9375", "0.9", "0.95"] in lines
    assert [line[0] for line in lines[-2:]] == ["3", "2"]
    assert lines[-2][-1] == "knows new class 'bad'"


def test_the_command_shows_a_models_latency_by_the_span_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(commands, "Client", connected(asked))
    assert run("latency", "risk", "--span", "hour") == 0
    assert asked == [("/api/v1/catalogue/risk/latency", {"span": "hour"})]
    assert capsys.readouterr().out.splitlines()[1].split("\t")[1:] == ["9", "0", "1.5", "-"]
    assert run("latency", "risk", "--span", "week") == 2
