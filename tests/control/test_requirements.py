"""Requirements over HTTP: numbered, conditional, and a sponsor who is a user with that role."""

from typing import Any

import pytest
from alembic import command
from alembic.config import Config

from control.store import schema
from tests.control.running import Control
from tests.control.tenants import user
from tests.control.test_composition import register

PATH = "/api/v1/models/risk/requirements"


async def test_a_named_sponsor_sees_the_model_from_then_on(control: Control) -> None:
    await control.admin.put("/api/v1/models/risk")
    ada, _ = await user(control, "ada", "sponsor")
    async with ada:
        assert (await ada.get(PATH)).status_code == 404
        made = await control.admin.put(PATH, json={"sponsor": "ada", "problem": "fraud"})
        assert made.status_code == 201, made.text
        assert made.headers["Location"] == f"{PATH}/1"
        assert (await ada.get(PATH)).json()["problem"] == "fraud"
        assert (await ada.get("/api/v1/models/risk")).status_code == 200
    grants = await control.admin.get("/api/v1/models/risk/grants")
    assert [one["user"] for one in grants.json()["items"]] == ["ada"]


@pytest.mark.parametrize("following", ["bob", None])
@pytest.mark.parametrize("by_hand", ["no", "before", "after"])
async def test_who_is_the_sponsor_no_longer_keeps_only_what_was_given_by_hand(
    control: Control, following: str | None, by_hand: str
) -> None:
    await control.admin.put("/api/v1/models/risk")
    ada, _ = await user(control, "ada", "sponsor")
    bob, _ = await user(control, "bob", "sponsor")
    grant = "/api/v1/models/risk/grants/ada"
    async with ada, bob:
        if by_hand == "before":
            await control.admin.put(grant)
        await control.admin.put(PATH, json={"sponsor": "ada"})
        named = (await control.admin.get(grant)).json()["named"]
        assert named is (by_hand != "before")
        if by_hand == "after":
            given = await control.admin.put(grant)
            assert (given.status_code, given.json()["named"]) == (200, False)
        await control.admin.put(PATH, json={"sponsor": "ada", "problem": "fraud"})
        assert (await ada.get(PATH)).status_code == 200
        await control.admin.put(PATH, json={"sponsor": following})
        assert (await ada.get(PATH)).status_code == (404 if by_hand == "no" else 200)
        assert (await bob.get(PATH)).status_code == (404 if following is None else 200)
    entries = (await control.admin.get("/api/v1/audit?kind=grant")).json()["items"]
    removed = [one["key"] for one in entries if one["action"] == "grant.removed"]
    assert removed == (["risk/ada"] if by_hand == "no" else [])


async def test_the_migration_tells_grants_by_naming_from_those_by_hand(control: Control) -> None:
    await control.admin.put("/api/v1/models/risk")
    for name in ("ada", "bob"):
        client, _ = await user(control, name, "sponsor")
        await client.aclose()
    await control.admin.put(PATH, json={"sponsor": "ada"})
    await control.admin.put("/api/v1/models/risk/grants/bob")
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with control.services.database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0028")
        command.upgrade(config, "head")
    grants = (await control.admin.get("/api/v1/models/risk/grants")).json()["items"]
    assert [(one["user"], one["named"]) for one in grants] == [("ada", True), ("bob", False)]


async def test_the_sponsor_has_that_role(control: Control) -> None:
    await control.admin.put("/api/v1/models/risk")
    ann, _ = await user(control, "ann", "publisher")
    async with ann:
        for name in ("ann", "nobody"):
            answer = await control.admin.put(PATH, json={"sponsor": name})
            assert answer.status_code == 422
            assert f"no user '{name}' with the role sponsor" in answer.json()["detail"]


async def test_requirements_are_numbered_and_changed_on_condition(control: Control) -> None:
    await control.admin.put("/api/v1/models/risk")
    first = await control.admin.put(PATH, json={"problem": "a"}, headers={"If-None-Match": "*"})
    assert (first.status_code, first.json()["number"]) == (201, 1)
    again = await control.admin.put(PATH, json={"problem": "a"})
    assert (again.status_code, again.json()["number"]) == (200, 1)
    etag = {"If-Match": first.headers["ETag"]}
    second = await control.admin.put(PATH, json={"criteria": ["f1>.5"]}, headers=etag)
    assert (second.status_code, second.json()["criteria"]) == (201, ["f1 > 0.5"])
    assert (await control.admin.put(PATH, json={}, headers=etag)).status_code == 412
    assert (await control.admin.get(f"{PATH}/1")).json()["problem"] == "a"
    assert (await control.admin.get(f"{PATH}/3")).status_code == 404
    history = (await control.admin.get(f"{PATH}/history?limit=1")).json()
    assert [one["number"] for one in history["items"]] == [1]
    assert history["next"] == "1"


async def test_an_expression_that_is_none_is_answered_with_the_character(control: Control) -> None:
    await control.admin.put("/api/v1/models/risk")
    answer = await control.admin.put(PATH, json={"criteria": ["accuracy => 0.9"]})
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert (
        detail.split("\n")[0]
        == "criteria, item 1: criterion, character 10: '=' compares nothing here; write '=='"
    )
    assert detail.split("\n")[2].index("^") == detail.split("\n")[1].index("=>")


async def test_a_contract_that_no_version_can_be_held_to_is_answered_with_warnings(
    control: Control,
) -> None:
    await register(control.admin)
    contract: dict[str, Any] = {
        "mode": "enforce",
        "rules": [{"column": "input"}, {"column": "imput", "minimum": 0.0}],
    }
    made = (await control.admin.put(PATH, json={"contract": contract})).json()
    [warning] = made["warnings"]
    assert "no version has a column or an input 'imput'" in warning
    assert (await control.admin.get(PATH)).json() == made
    assert (await control.admin.get(f"{PATH}/1")).json()["warnings"] == []
    del contract["rules"][1]
    assert (await control.admin.put(PATH, json={"contract": contract})).json()["warnings"] == []
