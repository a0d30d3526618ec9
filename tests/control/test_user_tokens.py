"""Personal tokens: what they may do, whose they are, and what ends them."""

from pathlib import Path

import pytest

from tests.control.accounts import make, new_token, published, session, works
from tests.control.running import Control, connect


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """That users, sessions and tokens work on PostgreSQL too is tested beside users."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


async def test_a_token_is_shown_once_and_published_with_its_role(control: Control) -> None:
    await make(control, "ann")
    async with await session(control, "ann") as ann:
        made = await new_token(ann, label="ci", role="consumer")
        shown = (await ann.get(f"/api/v1/tokens/{made['id']}")).json()
        listed = (await ann.get("/api/v1/tokens")).text

    assert made["secret"].startswith(made["prefix"])
    assert "secret" not in shown
    assert made["secret"] not in listed
    document = published(control, made["id"])
    assert document is not None
    assert (document["role"], document["models"]) == ("consumer", [])
    async with connect(control.app, made["secret"]) as script:
        me = (await script.get("/api/v1/users/me")).json()
    assert (me["role"], me["credential"], me["consumer"]) == ("consumer", "token", "ann")


@pytest.mark.parametrize(
    ("own", "wished", "status"),
    [
        ("publisher", "admin", 422),
        ("publisher", "auditor", 422),
        ("consumer", "publisher", 422),
        ("auditor", "consumer", 422),
        ("sponsor", "consumer", 201),
        ("admin", "auditor", 201),
    ],
)
async def test_a_token_never_has_a_wider_role_than_its_user(
    control: Control, own: str, wished: str, status: int
) -> None:
    await make(control, "ann", role=own)
    async with await session(control, "ann") as ann:
        assert (await ann.post("/api/v1/tokens", json={"role": wished})).status_code == status


async def test_a_token_makes_no_token(control: Control) -> None:
    await make(control, "ann")
    async with await session(control, "ann") as ann:
        made = await new_token(ann)
    async with connect(control.app, made["secret"]) as script:
        assert (await script.post("/api/v1/tokens", json={})).status_code == 403


async def test_tokens_of_others_are_made_listed_and_revoked_by_admins_alone(
    control: Control,
) -> None:
    await make(control, "ann")
    await make(control, "bob")
    assert (await control.admin.post("/api/v1/tokens", json={})).status_code == 422
    made = await new_token(control.admin, user="ann", label="robot")
    async with await session(control, "bob") as bob:
        assert (await bob.post("/api/v1/tokens", json={"user": "ann"})).status_code == 403
        assert (await bob.get("/api/v1/tokens")).json()["items"] == []
        assert (await bob.get(f"/api/v1/tokens/{made['id']}")).status_code == 404
        assert (await bob.post(f"/api/v1/tokens/{made['id']}/revoke")).status_code == 404

    assert len((await control.admin.get("/api/v1/tokens?user=ann")).json()["items"]) == 1
    revoked = await control.admin.post(f"/api/v1/tokens/{made['id']}/revoke")
    assert revoked.json()["revoked_at"]
    assert published(control, made["id"]) is None
    async with connect(control.app, made["secret"]) as script:
        assert not await works(script)


async def test_a_token_ends_at_its_moment(control: Control) -> None:
    await make(control, "ann")
    moment = "2027-01-15T09:00:00Z"
    async with await session(control, "ann") as ann:
        made = await new_token(ann, expires_at=moment)
    async with connect(control.app, made["secret"]) as script:
        assert await works(script)
        control.clock.advance(3600)
        assert not await works(script)
