"""Models belong to their makers; grants and transfers say who else manages them."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest

from protocol.manifest import sha256_digest
from registry.store import versions
from tests.control.accounts import audited, published
from tests.control.running import Control, connect
from tests.control.tenants import Tenant, tenant, user


@pytest.fixture
def database_url(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """SQLite, but for the tests that ask for PostgreSQL."""
    if "on_postgresql" in request.fixturenames:
        url: str = request.getfixturevalue("postgres_url")
        return url
    return f"sqlite:///{tmp_path / 'tollway.db'}"


@pytest.fixture
def on_postgresql() -> None:
    """Marks a test that runs on PostgreSQL."""


@pytest.fixture
async def red(control: Control) -> AsyncIterator[Tenant]:
    made = await tenant(control, "red")
    yield made
    await made.close()


@pytest.fixture
async def blue(control: Control) -> AsyncIterator[Tenant]:
    made = await tenant(control, "blue")
    yield made
    await made.close()


async def managed(client: httpx.AsyncClient) -> list[str]:
    found: list[str] = (await client.get("/api/v1/users/me")).json()["models"]
    return found


async def names(client: httpx.AsyncClient) -> list[str]:
    return [one["name"] for one in (await client.get("/api/v1/models")).json()["items"]]


async def test_a_new_model_belongs_to_who_made_it(control: Control, red: Tenant) -> None:
    assert await managed(red.publisher) == ["red-private", "red-public"]
    shown = (await red.publisher.get("/api/v1/models/red-private")).json()
    assert shown["owner"] == "red-publisher"
    await control.admin.put("/api/v1/models/ours")
    assert (await control.admin.get("/api/v1/models/ours/owner")).json()["owner"] == "admin"


async def test_a_model_that_is_not_published_does_not_exist_for_others(
    red: Tenant, blue: Tenant
) -> None:
    assert await names(blue.publisher) == ["blue-private", "blue-public", "red-public"]
    assert await names(blue.consumer) == ["blue-public", "red-public"]
    for path in ("", "/versions", "/versions/1", "/aliases", "/rollout", "/owner", "/grants"):
        answer = await blue.publisher.get(f"/api/v1/models/red-private{path}")
        assert answer.status_code == 404, path
        nothing = await blue.publisher.get(f"/api/v1/models/red-nothing{path}")
        assert nothing.text.replace("nothing", "private") == answer.text


async def test_others_see_the_callable_versions_of_a_published_model_alone(
    control: Control, red: Tenant, blue: Tenant
) -> None:
    with control.services.database.write() as connection:
        first = versions.get(connection, "red-public", 1)
        assert first is not None
        draft = msgspec.structs.replace(first, number=2, state="registered")
        versions.insert(connection, draft, msgspec.json.encode(draft.manifest))

    assert (await red.publisher.get("/api/v1/models/red-public")).json()["latest"] == 2
    seen = (await blue.consumer.get("/api/v1/models/red-public")).json()
    assert (seen["latest"], seen["owner"]) == (1, None)
    listed = (await blue.consumer.get("/api/v1/models/red-public/versions")).json()["items"]
    assert [one["number"] for one in listed] == [1]
    assert listed[0]["created_by"] == ""
    hidden = await blue.consumer.get("/api/v1/models/red-public/versions/2")
    assert hidden.status_code == 404


async def test_a_published_model_of_others_is_read_and_not_changed(
    red: Tenant, blue: Tenant
) -> None:
    model = "/api/v1/models/red-public"
    assert (await blue.publisher.get(model)).status_code == 200
    for method, path, body in (
        ("POST", "/versions/1/transitions", {"to": "deprecated"}),
        ("PATCH", "/versions/1", {"loaded": False}),
        ("PUT", "/rollout", {"stable": 1}),
        ("GET", "/versions/1/transitions", None),
        ("GET", "/aliases/stable/history", None),
    ):
        answer = await blue.publisher.request(method, model + path, json=body)
        assert answer.status_code == 403, path


async def test_a_taken_name_is_refused_whoever_has_it(red: Tenant, blue: Tenant) -> None:
    answer = await blue.publisher.put("/api/v1/models/red-private", json={"title": "mine"})

    assert answer.status_code == 409
    shown = (await red.publisher.get("/api/v1/models/red-private")).json()
    assert shown["title"] == "red-private title"


async def test_artifacts_are_read_by_those_who_manage_a_version_of_them(
    red: Tenant, blue: Tenant
) -> None:
    path = f"/api/v1/blobs/{red.digest}"
    assert (await red.publisher.get(path)).status_code == 200
    assert (await blue.publisher.get(path)).status_code == 404
    assert (await blue.publisher.head(path)).status_code == 404
    assert (await red.consumer.get(path)).status_code == 403


async def test_knowing_a_digest_gives_no_right_to_the_bytes(red: Tenant, blue: Tenant) -> None:
    data = b"bytes of red-private"
    blob = {"digest": sha256_digest(data), "size": len(data)}
    assert blob["digest"] == red.digest
    body = {"artifact": blob}
    stolen = await blue.publisher.post("/api/v1/models/blue-private/versions", json=body)
    assert stolen.status_code == 422
    begun = await blue.publisher.post("/api/v1/blobs/uploads", json=blob)
    assert begun.status_code == 201
    path = f"/api/v1/blobs/uploads/{begun.json()['id']}"
    await blue.publisher.patch(path, content=data, headers={"Upload-Offset": "0"})
    assert (await blue.publisher.post(f"{path}/complete")).status_code == 201
    assert (await blue.publisher.get(f"/api/v1/blobs/{red.digest}")).status_code == 200
    again = await blue.publisher.post("/api/v1/blobs/uploads", json=blob)
    assert again.status_code == 200


async def test_an_upload_belongs_to_its_creator(
    control: Control, red: Tenant, blue: Tenant
) -> None:
    path = f"/api/v1/blobs/uploads/{red.upload}"
    headers = {"Upload-Offset": "0"}
    assert (await blue.publisher.head(path)).status_code == 404
    assert (await blue.publisher.patch(path, content=b"x", headers=headers)).status_code == 404
    assert (await blue.publisher.post(f"{path}/complete")).status_code == 404
    assert (await blue.publisher.delete(path)).status_code == 404
    assert (await red.publisher.head(path)).status_code == 200
    assert (await control.admin.delete(path)).status_code == 204


@pytest.mark.usefixtures("on_postgresql")
async def test_a_grant_lets_another_manage_and_its_end_takes_that_back_everywhere(
    control: Control, red: Tenant, blue: Tenant
) -> None:
    grant = "/api/v1/models/red-private/grants/blue-publisher"
    assert (await blue.publisher.put(grant)).status_code == 404
    assert (await red.publisher.put(grant)).status_code == 201
    assert (await red.publisher.put(grant)).status_code == 200
    assert "red-private" in await managed(blue.publisher)
    token = published(control, blue.token)
    assert token is not None
    assert token["models"] == ["blue-private", "blue-public", "red-private"]
    assert (await blue.publisher.get(f"/api/v1/blobs/{red.digest}")).status_code == 200
    other = "/api/v1/models/red-private/grants/blue-publisher"
    assert (await blue.publisher.delete(other)).status_code == 403

    assert (await red.publisher.delete(grant)).status_code == 204
    assert (await red.publisher.delete(grant)).status_code == 404
    token = published(control, blue.token)
    assert token is not None
    assert token["models"] == ["blue-private", "blue-public"]
    assert (await blue.publisher.get("/api/v1/models/red-private")).status_code == 404


async def test_grants_are_for_those_who_can_manage(red: Tenant, control: Control) -> None:
    grants = "/api/v1/models/red-private/grants"
    assert (await red.publisher.put(f"{grants}/red-consumer")).status_code == 404
    assert (await red.publisher.put(f"{grants}/nobody")).status_code == 404
    sponsor, _ = await user(control, "sam", "sponsor")
    async with sponsor:
        assert (await sponsor.get("/api/v1/models/red-private")).status_code == 404
        assert (await red.publisher.put(f"{grants}/sam")).status_code == 201
        assert (await sponsor.get("/api/v1/models/red-private")).status_code == 200
        change = {"to": "approved"}
        path = "/api/v1/models/red-private/versions/1/transitions"
        assert (await sponsor.post(path, json=change)).status_code == 403


@pytest.mark.parametrize("change", ["role", "deletion"])
async def test_grants_that_end_with_a_user_or_a_role_are_each_in_the_audit_log(
    control: Control, red: Tenant, change: str
) -> None:
    sponsor, _ = await user(control, "sam", "sponsor")
    await sponsor.aclose()
    for model in ("red-private", "red-public"):
        granted = await red.publisher.put(f"/api/v1/models/{model}/grants/sam")
        assert granted.status_code == 201
    if change == "role":
        answer = await control.admin.put("/api/v1/users/sam", json={"role": "consumer"})
    else:
        answer = await control.admin.delete("/api/v1/users/sam")
    assert answer.is_success
    ended = audited(control, "grant.removed")
    assert [entry["key"] for entry in ended] == ["red-private/sam", "red-public/sam"]
    grants = await control.admin.get("/api/v1/models/red-private/grants")
    assert grants.json()["items"] == []


async def test_a_transferred_model_is_the_new_owners_alone(
    control: Control, red: Tenant, blue: Tenant
) -> None:
    path = "/api/v1/models/red-private/owner"
    body = {"user": "blue-publisher"}
    assert (await blue.publisher.put(path, json=body)).status_code == 404
    assert (await red.publisher.put(path, json={"user": "red-consumer"})).status_code == 404
    assert (await red.publisher.put(path, json=body)).status_code == 200

    assert (await red.publisher.get("/api/v1/models/red-private")).status_code == 404
    assert (await blue.publisher.get("/api/v1/models/red-private")).status_code == 200
    for token, models in ((red.token, ["red-public"]), (blue.token, None)):
        document = published(control, token)
        assert document is not None
        assert document["models"] == (models or ["blue-private", "blue-public", "red-private"])
    back = await control.admin.put(path, json={"user": "admin"})
    assert back.json() == {"model": "red-private", "owner": "admin"}
    assert (await blue.publisher.get("/api/v1/models/red-private")).status_code == 404


async def test_a_new_model_reaches_its_owners_tokens(control: Control, red: Tenant) -> None:
    assert (await red.publisher.put("/api/v1/models/red-new")).status_code == 201
    document = published(control, red.token)
    assert document is not None
    assert document["models"] == ["red-new", "red-private", "red-public"]


async def test_an_owner_is_not_deleted_before_their_models_have_another(
    control: Control, red: Tenant
) -> None:
    refused = await control.admin.delete("/api/v1/users/red-publisher")
    assert refused.status_code == 409
    assert "red-private" in refused.json()["detail"]


async def test_a_narrower_token_of_a_publisher_manages_nothing(
    control: Control, red: Tenant
) -> None:
    made = (await red.publisher.post("/api/v1/tokens", json={"role": "consumer"})).json()
    async with connect(control.app, made["secret"]) as narrow:
        assert (await narrow.get("/api/v1/models/red-private")).status_code == 404
        assert (await narrow.get("/api/v1/models/red-public")).status_code == 200
        assert (await narrow.get(f"/api/v1/blobs/{red.digest}")).status_code == 403


async def test_an_auditor_sees_every_model_and_changes_none(control: Control, red: Tenant) -> None:
    auditor, _ = await user(control, "aud", "auditor")
    async with auditor:
        assert await names(auditor) == ["red-private", "red-public"]
        assert (await auditor.get(f"/api/v1/blobs/{red.digest}")).status_code == 200
        assert (await auditor.put("/api/v1/models/red-private")).status_code == 403
