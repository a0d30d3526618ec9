"""Requirements, gates and approvals, from Python and from a shell."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

import tollway
from tollway.cli import gates as commands
from tollway.cli.app import app

REQUIREMENTS: dict[str, Any] = {
    "model": "risk", "number": 2, "digest": "sha256:r", "created_at": "2026-11-14T22:13:20.000Z",
    "created_by": "ann", "problem": "fraud", "owner": "", "sponsor": "ada",
    "criteria": ["accuracy >= 0.9"], "constraints": {"technical": [], "regulatory": ["no age"]},
    "contract": None, "segments": {"young": "age<30"},
    "warnings": ["contract: no version has a column or an input 'agee'"],
}  # fmt: skip
PART = {
    "text": "accuracy >= 0.9", "outcome": "failed", "detail": "accuracy is 0.8: short by 0.1",
    "value": 0.8, "bound": 0.9, "short_by": 0.1, "evidence": ["sha256:e"], "rows": ["holdout"],
}  # fmt: skip
GATE: dict[str, Any] = {
    "model": "risk", "version": 3, "passed": False, "missing": ["accuracy is 0.8: short by 0.1"],
    "requirements": 2, "stable": 1, "manifest_digest": "sha256:m", "evidence_digest": "sha256:e",
    "criteria": [{"criterion": "accuracy >= 0.9", "outcome": "failed", "parts": [PART]}],
    "approval": {"state": "missing", "sponsor": "ada", "by": None, "at": None, "reason": "",
                 "changed": ""},
}  # fmt: skip
APPROVAL = {
    "model": "risk", "version": 3, "decision": "approve", "reason": "go", "actor": "ada",
    "at": "2026-11-14T22:13:20.000Z", "manifest_digest": "sha256:m", "evidence_digest": "sha256:e",
    "requirements": 2, "requirements_digest": "sha256:r", "signer": "k", "signature": "00",
}  # fmt: skip


class Server:
    """Answers as control does, and remembers what it was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Any, httpx.Headers]] = []
        self.has_requirements = True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1/models/risk")
        body = json.loads(request.content) if request.content else None
        self.sent.append((request.method, path, body, request.headers))
        match request.method, path:
            case "GET", "":
                return httpx.Response(
                    200, json={"name": "risk", "title": "", "aliases": {}, "latest": None}
                )
            case "GET", "/requirements" if not self.has_requirements:
                return httpx.Response(404, json={"detail": "none", "status": 404})
            case (("GET" | "PUT"), ("/requirements" | "/requirements/2")):
                return httpx.Response(200, json=REQUIREMENTS, headers={"ETag": '"r2-x"'})
            case "GET", "/requirements/history":
                return httpx.Response(200, json={"items": [REQUIREMENTS], "next": None})
            case "GET", "/versions/3/approvals":
                return httpx.Response(200, json={"items": [APPROVAL], "next": None})
            case "POST", "/versions/3/approvals":
                return httpx.Response(201, json=APPROVAL)
            case _, ("/versions/3/gate" | "/versions/3/approval-requests"):
                return httpx.Response(200, json=GATE)
        raise AssertionError(path)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> tollway.Client:
    def connected() -> tollway.Client:
        return tollway.Client("http://server", "token", transport=httpx.MockTransport(server))

    monkeypatch.setattr(commands, "Client", connected)
    return connected()


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        app(list(arguments))
    assert ended.value.code == code
    return capsys.readouterr().out


def test_requirements_are_changed_only_as_they_were_read(
    server: Server, client: tollway.Client
) -> None:
    client.set_requirements("risk", {"problem": "fraud"})
    assert server.sent[-1][2] == {"problem": "fraud"}
    assert server.sent[-1][3]["If-Match"] == '"r2-x"'
    server.has_requirements = False
    client.set_requirements("risk", {"problem": "fraud"})
    assert server.sent[-1][3]["If-None-Match"] == "*"


def test_a_model_may_have_no_requirements(
    server: Server, client: tollway.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    server.has_requirements = False
    assert client.requirements("risk") is None
    assert run(capsys, "requirements", "risk") == "model 'risk' has no requirements\n"
    assert run(capsys, "requirements", "risk", "--json") == "null\n"


def test_requirements_are_shown_set_and_listed(
    server: Server, client: tollway.Client, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown = run(capsys, "requirements", "risk", "2")
    assert "young: age<30" in shown
    assert "regulatory  no age" in shown
    assert "accuracy >= 0.9" in run(capsys, "requirements", "risk", "--history")
    file = tmp_path / "requirements.json"
    file.write_text('{"criteria": ["accuracy >= 0.9"]}')
    assert json.loads(run(capsys, "requirements", "risk", "--set", str(file), "--json")) == {
        **REQUIREMENTS
    }
    assert server.sent[-1][2] == {"criteria": ["accuracy >= 0.9"]}
    app(["requirements", "risk"], standalone_mode=False)
    told = capsys.readouterr()
    assert told.err == "warning: contract: no version has a column or an input 'agee'\n"
    assert "agee" not in told.out
    for text in ("no json", "[]"):
        file.write_text(text)
        with pytest.raises(tollway.InvalidRequestError, match=r"requirements\.json"):
            app(["requirements", "risk", "--set", str(file)], standalone_mode=False)


def test_a_gate_that_is_not_passed_ends_with_1(
    client: tollway.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = run(capsys, "gate", "risk", "3", code=1)
    assert "accuracy >= 0.9\tfailed\t0.8\t0.9\t0.1\tholdout" in shown
    assert "approval: missing (ada)" in shown
    assert json.loads(run(capsys, "gate", "risk", "3", "--json", code=1)) == GATE


@pytest.mark.parametrize("verb", ["approve", "refuse"])
def test_a_sponsor_decides_with_a_reason(
    server: Server, client: tollway.Client, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    run(capsys, verb, "risk", "3", "--reason", "so")
    assert server.sent[-1][2] == {"decision": verb, "reason": "so"}
    assert json.loads(run(capsys, verb, "risk", "3", "--reason", "so", "--json")) == APPROVAL


def test_a_sponsor_is_asked(
    server: Server, client: tollway.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "'ada' was asked" in run(capsys, "ask-approval", "risk", "3", "--note", "please")
    assert server.sent[-1][2] == {"note": "please"}
    assert client.approvals("risk", 3)[0].actor == "ada"
