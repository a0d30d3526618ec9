"""What another version would change for an application, from Python and from a shell."""

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

import tollway
from tollway.cli import upgrades as commands
from tollway.cli.app import app

EXAMPLE: dict[str, Any] = {
    "at": "2026-11-14T22:13:20.000Z", "against": 2, "application": "shop", "prediction_id": "p-1",
    "row": 0, "flipped": True, "difference": 0.5, "inputs": {"age": 20},
    "answered": {"label": "good"}, "shadow": {"label": "bad"},
}  # fmt: skip
PREVIEW: dict[str, Any] = {
    "application": "shop", "model": "risk", "from_version": 2, "to_version": 3,
    "to_state": "published", "sunset": None,
    "answers": {"basis": "shadow", "reason": "rows in another class", "compared": 152,
                "different": 9, "share": 0.0592},
    "examples": [EXAMPLE], "captured": 50, "capture_percent": 100.0,
}  # fmt: skip


def connected() -> tollway.Client:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/v1/applications/shop/upgrades/risk"
        assert dict(request.url.params) == {"from": "2", "to": "3"}
        return httpx.Response(200, json=PREVIEW)

    return tollway.Client("http://server", "token", transport=httpx.MockTransport(answer))


def test_the_client_tells_how_many_answers_would_be_others() -> None:
    found = connected().upgrade("shop", "risk", 2, 3)
    assert (found.answers.different, found.answers.compared, found.captured) == (9, 152, 50)
    assert found.examples[0].shadow == {"label": "bad"}


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_shows_the_applications_own_rows(
    monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setattr(commands, "Client", connected)
    arguments = ["upgrade", "shop", "risk", "2", "3", *(["--json"] if as_json else [])]
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 0
    if as_json:
        assert json.loads(ended.stdout) == PREVIEW
    else:
        assert "9 of 152 (shadow)" in ended.stdout
        assert ended.stdout.splitlines()[-1].split("\t") == [
            "p-1", "0", "label=good", "label=bad", "age=20",
        ]  # fmt: skip
