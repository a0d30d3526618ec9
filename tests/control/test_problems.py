"""Every error is a problem document that names what is wrong and tells no internals."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from protocol import problems
from protocol.errors import STATUS, Code, TollwayError
from tests.control.running import Control


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """How errors are answered does not depend on the database."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_its_problem(code: Code) -> None:
    problem = json.loads(problems.encode(problems.of_error(TollwayError(code, "why", "secret"))))

    assert problem == {
        "type": f"urn:tollway:error:{code.value}",
        "title": problem["title"],
        "status": STATUS[code],
        "detail": "why",
        "code": code.value,
    }
    assert problem["title"]


async def test_an_unknown_path_is_a_problem(control: Control) -> None:
    for path in ("/api/v1/nothing", "/elsewhere"):
        answer = await control.admin.get(path)
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "not_found"


async def test_a_wrong_method_is_a_problem_and_says_which_are_right(control: Control) -> None:
    answer = await control.admin.delete("/api/v1/plans")

    assert answer.status_code == 405
    assert answer.json()["code"] == "method_not_allowed"
    assert "GET" in answer.headers["Allow"]


async def test_a_field_that_does_not_fit_is_named_and_not_echoed(control: Control) -> None:
    body = {"application": ["tw_live_secret"], "models": ["a", 7], "label": "x" * 201}
    answer = await control.admin.post("/api/v1/keys", json=body)

    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    fields = {one["field"] for one in answer.json()["errors"]}
    assert fields == {"body.application", "body.models.1", "body.label"}
    assert "tw_live_secret" not in answer.text


@pytest.mark.parametrize("body", [b"{", b'{"application": "\xff"}', b"\x00", b"[" * 100_000])
async def test_a_body_that_is_no_json_is_a_client_error(control: Control, body: bytes) -> None:
    answer = await control.admin.post(
        "/api/v1/keys", content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code in {400, 422}
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_body_over_the_limit_is_refused_announced_or_not(control: Control) -> None:
    size = control.settings.max_json_bytes + 1

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(0, size, 1 << 20):
            yield b" " * (1 << 20)

    announced = await control.admin.post("/api/v1/keys", content=b" " * size)
    streamed = await control.admin.post("/api/v1/keys", content=pieces())

    assert (announced.status_code, streamed.status_code) == (413, 413)
    assert announced.json()["code"] == streamed.json()["code"] == "too_large"


async def test_a_defect_is_answered_without_its_details(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(type(control.services.directory), "consumers", broken)

    with capture_logs() as logged:
        answer = await control.admin.get("/api/v1/consumers")

    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "internal"
    assert "hunter2" not in answer.text
    assert [(one["event"], one["path"]) for one in logged] == [
        ("request failed", "/api/v1/consumers")
    ]


async def test_a_refusal_asks_for_the_right_credential(control: Control) -> None:
    answer = await control.anonymous.get("/api/v1/plans")

    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="tollway"'
