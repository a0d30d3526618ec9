"""The disagreement report, from Python and from a shell."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

import tollway
from tollway.cli import disagreement as commands
from tollway.cli.app import app

ITEM: dict[str, Any] = {
    "against": 2,
    "application": None,
    "segment": "young",
    "requests": 90,
    "failures": {"refused": 3},
    "rows": 100,
    "classified": 100,
    "flips": 4,
    "flip_share": 0.04,
    "pairs": [{"answered": "good", "shadow": "bad", "rows": 4}],
    "measured": 100,
    "equal": 50,
    "missing": 0,
    "mean_shift": -0.125,
    "shift_deviation": 0.25,
    "p50": 0.0,
    "p90": 0.5,
    "p99": 0.75,
    "largest": 0.875,
}
EXAMPLE: dict[str, Any] = {
    "at": "2026-11-14T22:13:20.000Z",
    "against": 2,
    "application": "shop",
    "prediction_id": "p-1",
    "row": 0,
    "flipped": True,
    "difference": 0.875,
    "inputs": {"age": 20},
    "answered": {"label": "good"},
    "shadow": {"label": "bad"},
}


def connected(
    asked: list[dict[str, str]], items: list[dict[str, Any]], examples: list[dict[str, Any]]
) -> Callable[[], tollway.Client]:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/v1/models/risk/shadows/3/report"
        asked.append(dict(request.url.params))
        span = {"start": "2026-11-14T22:00:00.000Z", "end": "2026-11-15T22:00:00.000Z"}
        found = {"model": "risk", "version": 3, **span, "items": items, "examples": examples}
        return httpx.Response(200, json=found)

    return lambda: tollway.Client("http://server", "token", transport=httpx.MockTransport(answer))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["disagreement", "risk", "3", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_report_is_asked_for_by_span_and_dimensions() -> None:
    asked: list[dict[str, str]] = []
    client = connected(asked, [ITEM], [EXAMPLE])()
    found = client.disagreement(
        "risk", 3, start=datetime(2026, 11, 14, tzinfo=UTC), by=("segment",), examples=1
    )
    assert isinstance(found, tollway.DisagreementReport)
    assert datetime.fromisoformat(asked[0].pop("from")) == datetime(2026, 11, 14, tzinfo=UTC)
    assert asked == [{"by": "segment", "examples": "1"}]
    [item] = found.items
    assert (item.segment, item.flips, item.pairs[0].shadow) == ("young", 4, "bad")
    assert found.examples[0].inputs == {"age": 20}


def test_the_command_shows_figures_failures_flips_and_examples(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "Client", connected([], [ITEM], [EXAMPLE]))
    assert run("--by", "segment") == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:6] == ["against", "segment", "requests", "failed", "rows", "flips"]
    assert lines[1] == [
        "2", "young", "90", "3", "100", "4", "4", "-0.125", "0", "0.5", "0.75", "0.875",
    ]  # fmt: skip
    assert ["2", "young", "refused", "3"] in lines
    assert ["2", "young", "good", "bad", "4"] in lines
    assert lines[-1] == ["p-1", "0", "label=good", "label=bad", "age=20"]


def test_the_command_answers_programs_with_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "Client", connected([], [ITEM], []))
    assert run("--json") == 0
    assert json.loads(capsys.readouterr().out)["items"] == [ITEM]


def test_the_command_says_that_nothing_was_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "Client", connected([], [], []))
    assert run() == 0
    assert capsys.readouterr().out == (
        "nothing was compared with version 3 of risk since 2026-11-14T22:00:00.000Z\n"
    )


def test_a_dimension_that_there_is_not_is_refused_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(commands, "Client", connected(asked, [], []))
    assert run("--by", "key") == 2
    assert asked == []
