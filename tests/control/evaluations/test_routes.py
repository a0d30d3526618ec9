"""Evaluations by the management API: who may, how many, with whose credential, and what stays."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from control.settings import ControlSettings
from tests.control.evaluations.running import CSV, Played, upload
from tests.control.portal.publishing_world import uninspected, version
from tests.control.running import Control, connect

AT = "/api/v1/models/risk/versions/1/evaluations"
PASSWORD = "correct horse battery"
FAILED = b'{"event": "error", "kind": "InvalidRequestError", "message": "line 2", "about": "rows"}'


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """No database keeps them."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    """A gateway is known, and one evaluation runs at once."""
    told = {"gateway_url": "http://gateway:1/", "evaluations_max": 1, "evaluation_max_bytes": 2048}
    return settings.model_copy(update=told)


@pytest.fixture
async def played(control: Control) -> Played:
    """The model ``risk`` with a version, and processes that do what tests say."""
    uninspected(control)
    assert (await control.admin.put("/api/v1/models/risk")).status_code == 201
    await version(control.admin, "risk")
    return Played(control)


async def begin(client: httpx.AsyncClient, id: str | None = None, **more: Any) -> httpx.Response:
    """Ask for an evaluation."""
    body = {"upload": id or await upload(client), "target": "risk", **more}
    return await client.post(AT, json=body)


async def test_it_runs_as_the_caller_and_ends_with_its_evidence(
    control: Control, played: Played
) -> None:
    begun = await begin(control.admin, segments=["age<30"], rows_name="spring", latency=False)
    assert begun.status_code == 201, begun.text
    run = begun.json()
    assert begun.headers["location"] == f"{AT}/{run['id']}"
    assert (run["state"], run["step"], run["started_by"]) == (
        "running",
        "reading the rows",
        "admin",
    )

    await played.said(b'{"event": "step", "message": "scoring 1 rows"}')
    await played.said(b'{"event": "total", "rows": 1}')
    now = (await control.admin.get(f"{AT}/{run['id']}")).json()
    assert (now["done"], now["step"], now["of_rows"]) == (
        ["reading the rows"], "scoring 1 rows", 1,
    )  # fmt: skip

    await played.end(b'{"event": "kept", "digest": "sha256:e"}')
    ended = (await control.admin.get(f"{AT}/{run['id']}")).json()
    assert (ended["state"], ended["evidence"], ended["failure"]) == ("kept", "sha256:e", None)
    assert ended["ended_at"]
    assert (await control.admin.get(AT)).json()["items"] == [ended]

    token = control.settings.admin_token_path.read_text().strip()
    environment, arguments = played.environments[0], played.arguments[0]
    assert (environment["TOLLWAY_TOKEN"], environment["TOLLWAY_URL"]) == (token, "http://gateway:1")
    assert token not in " ".join(arguments)
    assert {"--target=risk", "--rows-name=spring", "--segments=age<30", "--no-latency"} <= set(
        arguments
    )


async def test_nothing_of_the_rows_stays(control: Control, played: Played) -> None:
    id = await upload(control.admin)
    assert (await begin(control.admin, id)).status_code == 201
    await played.said(b"")
    assert played.rows == [CSV]
    staged = control.settings.own_dir / "staging" / "uploads"
    assert list(staged.iterdir()) == []
    gone = await control.admin.head(f"/api/v1/blobs/uploads/{id}")
    assert gone.status_code == 404
    await played.end(FAILED)


async def test_one_too_many_is_told_when_to_come_back_and_keeps_its_upload(
    control: Control, played: Played
) -> None:
    first = (await begin(control.admin)).json()
    id = await upload(control.admin)
    refused = await begin(control.admin, id)
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "30"
    assert "as many evaluations run now as may (1)" in refused.json()["detail"]
    assert (await control.admin.delete(f"{AT}/{first['id']}")).status_code == 204
    assert (await begin(control.admin, id)).status_code == 201


async def test_a_failure_is_told_with_what_it_is_about(control: Control, played: Played) -> None:
    run = (await begin(control.admin)).json()
    await played.end(FAILED)
    ended = (await control.admin.get(f"{AT}/{run['id']}")).json()
    assert (ended["state"], ended["failure"]) == ("failed", {"about": "rows", "detail": "line 2"})
    assert (await begin(control.admin)).status_code == 201  # its place is free again


async def test_cancelling_ends_it_once_and_changes_nothing_that_has_ended(
    control: Control, played: Played
) -> None:
    run = (await begin(control.admin)).json()
    await played.said(b"")
    for _ in range(2):
        assert (await control.admin.delete(f"{AT}/{run['id']}")).status_code == 204
        ended = (await control.admin.get(f"{AT}/{run['id']}")).json()
        assert (ended["state"], ended["evidence"]) == ("cancelled", None)


@pytest.mark.parametrize("noticed", ["as it runs", "by its end"])
async def test_it_ends_with_the_session_that_began_it_and_says_so(
    control: Control, played: Played, noticed: str
) -> None:
    """Its process may be told before us that there is no such version: nobody may see one."""
    body = {"role": "admin", "password": PASSWORD}
    await control.admin.put("/api/v1/users/paula", json=body)
    login = {"name": "paula", "password": PASSWORD}
    session = (await control.anonymous.post("/api/v1/sessions", json=login)).json()
    async with connect(control.app, session["secret"]) as paula:
        run = (await begin(paula)).json()
    await played.said(b"")
    await control.services.evaluations.tell()
    going = (await control.admin.get(f"{AT}/{run['id']}")).json()
    assert (going["state"], going["started_by"]) == ("running", "paula")

    await control.admin.delete("/api/v1/sessions", params={"user": "paula"})
    if noticed == "as it runs":
        await control.services.evaluations.tell()
        await played.ended()
    else:
        await played.end(
            b'{"event": "error", "kind": "NotFoundError", "message": "has no version 1"}'
        )
    ended = (await control.admin.get(f"{AT}/{run['id']}")).json()
    assert ended["state"] == "failed"
    assert ended["failure"] == {
        "about": "",
        "detail": "the session or token that began it has ended: log in, and begin again",
    }


async def test_closing_control_ends_what_runs(control: Control, played: Played) -> None:
    run = (await begin(control.admin)).json()
    await control.services.evaluations.close()
    ended = (await control.admin.get(f"{AT}/{run['id']}")).json()
    assert ended["state"] == "cancelled"
    assert (await begin(control.admin)).status_code == 503


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"target": ""}, 422),
        ({"target": "a\0b"}, 422),
        ({"segments": ["x" * 501]}, 422),
        ({"segments": ["x"] * 101}, 422),
        ({"metric": "f1"}, 422),
        ({"upload": "0" * 32}, 404),
    ],
)
async def test_what_makes_no_sense_is_refused_before_anything_runs(
    control: Control, played: Played, more: dict[str, Any], status: int
) -> None:
    assert (await begin(control.admin, **more)).status_code == status
    assert played.arguments == []


async def test_too_large_a_file_and_half_a_file_are_refused(
    control: Control, played: Played
) -> None:
    large = await begin(control.admin, await upload(control.admin, b"x" * 4096))
    assert large.status_code == 413
    body = {"digest": "sha256:" + "0" * 64, "size": 10, "fresh": True}
    half = (await control.admin.post("/api/v1/blobs/uploads", json=body)).json()["id"]
    assert (await begin(control.admin, half)).status_code == 409
    assert played.arguments == []
    assert (await begin(control.admin)).status_code == 201  # no place was lost


async def test_uploads_of_others_are_not_taken(control: Control, played: Played) -> None:
    made = {"role": "publisher", "password": "correct horse battery"}
    await control.admin.put("/api/v1/users/robin", json=made)
    await control.admin.put("/api/v1/models/risk/owner", json={"user": "robin"})
    login = {"name": "robin", "password": "correct horse battery"}
    secret = (await control.anonymous.post("/api/v1/sessions", json=login)).json()["secret"]
    id = await upload(control.admin)
    async with connect(control.app, secret) as robin:
        assert (await begin(robin, id)).status_code == 404
        assert (await begin(robin)).status_code == 201
    await played.said(b"")
    assert played.environments[0]["TOLLWAY_TOKEN"] == secret


@pytest.mark.parametrize(
    ("told", "why"),
    [({"gateway_url": ""}, "TOLLWAY_GATEWAY_URL"), ({"evaluations_max": 0}, "EVALUATIONS_MAX")],
)
async def test_where_none_can_run_it_is_said_why(
    control: Control, played: Played, told: dict[str, object], why: str
) -> None:
    evaluations = control.services.evaluations
    evaluations._settings = evaluations._settings.model_copy(update=told)
    found = (await control.admin.get(AT)).json()
    assert found["available"] is False
    assert why in found["unavailable"]
    refused = await begin(control.admin)
    assert refused.status_code == 503
    assert why in refused.json()["detail"]


async def test_without_the_client_library_none_are_run(control: Control, played: Played) -> None:
    control.services.evaluations._library = None
    assert "client library" in (await control.admin.get(AT)).json()["unavailable"]
    assert (await begin(control.admin)).status_code == 503


async def test_one_that_is_not_known_is_told_as_such(control: Control, played: Played) -> None:
    unknown = await control.admin.get(f"{AT}/{'0' * 32}")
    assert unknown.status_code == 404
    assert "it ended long ago" in unknown.json()["detail"]
