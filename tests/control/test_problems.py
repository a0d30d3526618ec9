"""Every error is a problem document that names what is wrong and tells no internals."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from protocol import problems
from protocol.errors import STATUS, Code, TollwayError
from tests.control.running import Control, connect


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


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("plans/x", {"scopes": []}, "body.scopes: must have at least 1 item"),
        ("plans/x", {"concurrency": True}, "body.concurrency: must be a whole number"),
        ("plans/x", {"concurrency": "5"}, "body.concurrency: must be a whole number"),
        ("plans/x", {"quota": {}}, "body.quota.limit: is required"),
        ("plans/x", {"quotas": 1}, "body.quotas: is not known here"),
        ("plans/x", {"concurrency": 0}, "body.concurrency: must be greater than or equal to 1"),
        ("consumers/x", {"title": "a\0"}, "body.title: text must not contain NUL"),
        ("users/x", {"disabled": "no"}, "body.disabled: must be true or false"),
    ],
)
async def test_what_is_wrong_with_a_field_is_said_in_plain_words(
    control: Control, path: str, body: object, message: str
) -> None:
    answer = await control.admin.put(f"/api/v1/{path}", json=body)

    assert answer.status_code == 422
    assert answer.json()["detail"] == message


@pytest.mark.parametrize("wrap", [False, True])
async def test_a_request_that_its_quota_could_never_hold_makes_no_plan(
    control: Control, wrap: bool
) -> None:
    plan = {"quota": {"limit": 10, "unit": "rows"}, "max_rows": 11}
    path, body = ("configuration", {"plans": {"x": plan}}) if wrap else ("plans/x", plan)
    answer = await control.admin.put(f"/api/v1/{path}", json=body)

    assert answer.status_code == 422
    assert "max_rows 11 is more than the 10 rows" in answer.json()["detail"]
    assert (await control.admin.put("/api/v1/plans/y", json=plan | {"max_rows": 10})).is_success


async def test_an_auditor_compares_a_configuration_and_changes_nothing(control: Control) -> None:
    wish = {"role": "auditor", "password": "correct horse battery staple"}
    assert (await control.admin.put("/api/v1/users/ann", json=wish)).is_success
    made = await control.admin.post("/api/v1/tokens", json={"user": "ann"})
    wanted = {"plans": {"x": {"title": "X"}}, "consumers": {"acme": {}}}
    async with connect(control.app, made.json()["secret"]) as auditor:
        path = "/api/v1/configuration"
        assert (await auditor.get(path)).json()["plans"]
        compared = await auditor.put(path, json=wanted, params={"dry_run": "true"})
        applied = await auditor.put(path, json=wanted)

    assert [change["key"] for change in compared.json()["changes"]] == ["acme", "x"]
    assert applied.status_code == 403
    assert (await control.admin.get("/api/v1/plans/x")).status_code == 404


@pytest.mark.parametrize(
    "path", ["usage?aplication=a", "quotas?x=1", "audit?since=1", "keys?app=a", "models?q=1"]
)
async def test_a_query_parameter_that_is_not_there_is_named(control: Control, path: str) -> None:
    answer = await control.admin.get(f"/api/v1/{path}")

    assert answer.status_code == 422
    name = path.partition("?")[2].partition("=")[0]
    assert answer.json()["detail"].startswith(f"query.{name}: there is no such query parameter")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"models/{'m' * 256}", 404),
        (f"keys/{'k' * 5000}", 404),
        (f"subscriptions/shop/{'m' * 256}", 404),
        (f"subscriptions?model={'m' * 1001}", 422),
        (f"keys?application={'a' * 1001}", 422),
    ],
)
async def test_texts_longer_than_anything_that_exists_are_not_looked_for(
    control: Control, path: str, status: int
) -> None:
    answer = await control.admin.get(f"/api/v1/{path}")

    assert answer.status_code == status
    assert "characters" in answer.json()["detail"]
