"""Alerts, from Python and from a shell."""

import json

import httpx
import pytest

import tollway
from tollway.cli import alerts as commands
from tollway.cli.app import app

FOUND = {
    "kind": "batch_variance",
    "message": "rows differ",
    "since": "2026-11-14T22:13:20.000Z",
    "model": "risk",
    "version": 3,
    "worker": "w1",
    "slot": 0,
}


def connected() -> tollway.Client:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/v1/alerts"
        return httpx.Response(200, json={"items": [FOUND], "next": None})

    return tollway.Client("http://server", "token", transport=httpx.MockTransport(answer))


def test_alerts_are_listed_by_the_client() -> None:
    (alert,) = connected().alerts()
    assert isinstance(alert, tollway.Alert)
    assert (alert.kind, alert.model, alert.version) == ("batch_variance", "risk", 3)
    assert (alert.worker, alert.slot, alert.message) == ("w1", 0, "rows differ")


@pytest.mark.parametrize("as_json", [False, True])
def test_alerts_are_listed_by_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    monkeypatch.setattr(commands, "Client", connected)
    with pytest.raises(SystemExit) as ended:
        app(["alerts", *(["--json"] if as_json else [])])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    if as_json:
        assert json.loads(out) == [FOUND | {"gateway": ""}]
    else:
        names, values = out.splitlines()
        assert names.split("\t")[:3] == ["alert", "model", "version"]
        assert values.split("\t")[:3] == ["batch_variance", "risk", "3"]
        assert values.endswith("rows differ")
