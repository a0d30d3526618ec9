"""Remote versions through the management API: registered by URL, published on gateways' word."""

from typing import Any

import pytest

from control.settings import ControlSettings
from tests.control.running import Control
from tests.fixtures.remote_server import FakeRemote, http, serving

VERSIONS = "/api/v1/models/flowers/versions"


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    return settings.model_copy(update={"remote_allowed_networks": "127.0.0.1/32"})


async def register(control: Control, remote: FakeRemote, **fields: Any) -> Any:
    await control.admin.put("/api/v1/models/flowers", json={})
    body = {"url": f"http://127.0.0.1:{remote.port}", "model": "f", **fields}
    return await control.admin.post(VERSIONS, json={"remote": body})


async def report(control: Control, state: str, error: str = "", id: str = "g1") -> None:
    remotes = [{"model": "flowers", "version": 1, "state": state, "error": error}]
    body = {
        "id": id, "counters": "redis://r:1", "version": "1", "started_ms": 1, "remotes": remotes,
    }  # fmt: skip
    answer = await control.cluster.put(f"/internal/v1/gateways/{id}", json=body)
    assert answer.status_code == 204
    control.clock.advance(1)


async def serving_of(control: Control) -> dict[str, Any]:
    found: dict[str, Any] = (await control.admin.get(f"{VERSIONS}/1")).json()["serving"]
    return found


async def move(control: Control, to: str) -> int:
    return (await control.admin.post(f"{VERSIONS}/1/transitions", json={"to": to})).status_code


async def test_a_remote_version_is_published_once_a_gateway_reaches_it(control: Control) -> None:
    async with serving() as remote:
        made = await register(control, remote, version="3", timeout_ms=1500)
    assert made.status_code == 201, made.text
    manifest = made.json()["manifest"]
    assert manifest["remote"] == {
        "url": f"http://127.0.0.1:{remote.port}",
        "model": "f",
        "version": "3",
        "credential": "",
        "binary": False,
        "timeout_ms": 1500,
        "connect_timeout_ms": 2000,
    }
    assert manifest["inputs"][0]["datatype"] == "FP32"
    assert (await serving_of(control))["state"] == "none"
    assert await move(control, "validated") == 409

    await report(control, "failed", "the remote server does not answer")
    found = await serving_of(control)
    assert (found["state"], found["error"]) == ("failed", "the remote server does not answer")
    assert await move(control, "validated") == 409

    await report(control, "ready", id="g2")
    assert (await serving_of(control))["state"] == "ready"
    assert [await move(control, to) for to in ("validated", "approved", "published")] == [200] * 3

    control.clock.advance(60)  # gateways that have fallen silent say nothing any more
    assert (await serving_of(control))["state"] == "none"


async def test_the_registration_is_audited(control: Control) -> None:
    async with serving() as remote:
        await register(control, remote)
    entries = (await control.admin.get("/api/v1/audit?action=version.registered")).json()["items"]
    assert [entry["key"] for entry in entries] == ["flowers/1"]


async def test_the_version_travels_to_gateways_without_any_secret(control: Control) -> None:
    async with serving() as remote:
        await register(control, remote)
    changes = (await control.admin.get("/api/v1/changes?limit=500")).json()["items"]
    doc = next(c["doc"] for c in changes if c["key"] == "flowers/1")
    assert doc["manifest"]["remote"]["credential"] == ""
    assert doc["manifest"]["artifact"] is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"remote": {"url": "http://127.0.0.1:1", "model": "f"}}, 422),
        ({"remote": {"url": "http://10.0.0.1", "model": "f"}}, 422),
        ({"remote": {"url": "https://169.254.169.254", "model": "f"}}, 422),
        ({"remote": {"url": "https://example.com", "model": "f", "credential": "../x"}}, 422),
        ({"remote": {"url": "https://example.com", "model": "f", "timeout_ms": 0}}, 422),
        ({"remote": {"url": "https://example.com", "model": "f", "secret": "x"}}, 422),
        ({"remote": {"url": "http://127.0.0.1:1", "model": "f"}, "golden": None, "files": [
            {"digest": "sha256:" + "0" * 64, "size": 1, "path": "a"}]}, 422),
    ],
)  # fmt: skip
async def test_what_is_no_remote_version_is_refused(
    control: Control, body: dict[str, Any], status: int
) -> None:
    await control.admin.put("/api/v1/models/flowers", json={})
    answer = await control.admin.post(VERSIONS, json=body)
    assert answer.status_code == status, answer.text
    assert (await control.admin.get(VERSIONS)).json()["items"] == []


async def test_what_the_server_answers_is_not_shown_to_who_registers(control: Control) -> None:
    class Inside(FakeRemote):
        def _answer(self, _asked: object) -> bytes:
            return http({"error": "inside information"}, 403)

    async with serving(Inside()) as remote:
        answer = await register(control, remote)
    assert answer.status_code == 422
    assert "inside information" not in answer.text
