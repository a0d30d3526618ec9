"""Secrets pasted where they do not belong are refused, and repeated by nobody."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocol.keys import generate
from tests.control.running import Control

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzaG9wIiwiZXhwIjoxfQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """What is refused does not depend on the database."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


@pytest.mark.parametrize("secret", [generate("live"), TOKEN], ids=["key", "token"])
async def test_a_secret_in_a_url_a_body_or_a_stored_header_is_refused_unrepeated(
    control: Control, secret: str
) -> None:
    admin = control.admin
    for answer in (
        await admin.get(f"/api/v1/keys/{secret}"),
        await admin.get(f"/api/v1/keys/%{ord(secret[0]):x}{secret[1:]}"),
        await admin.get("/api/v1/keys", params={"application": secret}),
        await admin.post(f"/api/v1/{secret}/nothing"),
        await admin.put("/api/v1/consumers/acme", json={"title": f"my key is {secret}."}),
        await admin.put("/api/v1/consumers/acme", json={secret: "x"}),
        await admin.put("/api/v1/consumers/acme", content=f"{{{secret}"),
        await admin.post("/api/v1/keys", json={}, headers={"Idempotency-Key": secret}),
        await admin.get("/api/v1/keys", headers={"User-Agent": f"curl {secret}"}),
    ):
        assert answer.status_code == 422, answer.text
        assert secret not in answer.text
    assert (await admin.get("/api/v1/consumers/acme")).status_code == 404


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"applications": {"shop": {"title": "uses SECRET"}}}, "applications.shop.title: holds"),
        (
            {"applications": {"shop": {"origins": ["https://a.example", "SECRET"]}}},
            "applications.shop.origins.1: holds",
        ),
        ({"applications": {"SECRET": {"title": "x"}}}, "applications: a name in it holds"),
        ({"SECRET": {}}, "a name in it holds"),
        ("SECRET", "the body holds"),
    ],
)
@pytest.mark.parametrize("secret", [generate("live"), TOKEN], ids=["key", "token"])
async def test_the_place_of_a_secret_in_a_body_is_named(
    control: Control, secret: str, body: object, place: str
) -> None:
    text = json.dumps(body).replace("SECRET", secret)
    for written in (text, text.replace("_", "\\u005f").replace("eyJ", "\\u0065yJ")):
        answer = await control.admin.put(
            "/api/v1/configuration", content=written, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(f"{place} a credential")
        assert secret not in answer.text


async def test_a_secret_that_arrives_in_pieces_is_refused(control: Control) -> None:
    body = f'{{"title": "{"x" * 90} {generate("test")}"}}'.encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    answer = await control.admin.put("/api/v1/consumers/acme", content=pieces())
    assert answer.status_code == 422
    assert "credential" in answer.json()["detail"]


async def test_what_only_looks_like_the_beginning_of_a_secret_is_stored(control: Control) -> None:
    for title in ("tw_live_", "keys are tw_live_...", "tw_live_" + "0" * 28, "eyJ", "a.b.c"):
        answer = await control.admin.put("/api/v1/consumers/acme", json={"title": title})
        assert answer.is_success, answer.text


async def test_a_reason_with_a_secret_is_refused(control: Control) -> None:
    headers = {"Tollway-Reason": f"lost {generate('live')}"}
    answer = await control.admin.put("/api/v1/consumers/acme", headers=headers)
    assert answer.status_code == 422
    assert "exposed" in answer.json()["detail"]
    assert (await control.admin.get("/api/v1/consumers/acme")).status_code == 404


async def test_a_reason_is_utf_8_or_refused(control: Control) -> None:
    latin = [(b"tollway-reason", b"gr\xf6\xdfer")]
    answer = await control.admin.put("/api/v1/consumers/acme", headers=latin)
    assert answer.status_code == 400
    assert "UTF-8" in answer.json()["detail"]


async def test_a_request_id_is_recorded_without_the_secret(control: Control) -> None:
    secret = generate("live")
    answer = await control.admin.put("/api/v1/consumers/acme", headers={"X-Request-Id": secret})
    assert answer.status_code == 201
    stored = b"".join(path.read_bytes() for path in database_files(control))
    assert b"tw_live_" in stored
    assert secret.encode() not in stored


def database_files(control: Control) -> list[Path]:
    url = control.settings.database_url
    assert url
    found = Path(url.removeprefix("sqlite:///"))
    return sorted(found.parent.glob(f"{found.name}*"))
