"""Consumers, applications, subscriptions, plans and keys over the management API."""

import asyncio
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from control.store.tables import api_keys
from protocol import keys
from registry.store.tables import models
from tests.control.running import START_MS, Control


def add_model(control: Control, name: str) -> None:
    with control.services.database.write() as connection:
        row = {"name": name, "title": "", "description": "", "created_at": 0, "updated_at": 0}
        connection.execute(sa.insert(models).values(row))


async def test_putting_a_consumer_twice_makes_it_once(control: Control) -> None:
    first = await control.admin.put("/api/v1/consumers/acme", json={"title": "Acme"})
    control.clock.advance(5)
    again = await control.admin.put("/api/v1/consumers/acme", json={"title": "Acme"})
    without_title = await control.admin.put("/api/v1/consumers/acme")

    assert first.status_code == 201
    assert (again.status_code, without_title.status_code) == (200, 200)
    assert first.json() == again.json() == without_title.json()
    assert first.json()["title"] == "Acme"
    assert first.headers["ETag"] == again.headers["ETag"]
    assert (await control.admin.get("/api/v1/consumers/acme")).json() == first.json()


async def test_changing_a_consumer_changes_its_tag(control: Control) -> None:
    first = await control.admin.put("/api/v1/consumers/acme", json={"title": "Acme"})
    control.clock.advance(5)
    changed = await control.admin.put("/api/v1/consumers/acme", json={"title": "Acme Ltd"})

    assert changed.status_code == 200
    assert changed.json()["title"] == "Acme Ltd"
    assert changed.json()["created_at"] == first.json()["created_at"]
    assert changed.json()["updated_at"] > first.json()["updated_at"]
    assert changed.headers["ETag"] != first.headers["ETag"]


async def test_an_update_on_an_old_tag_is_refused(control: Control) -> None:
    made = await control.admin.put("/api/v1/consumers/acme", json={"title": "one"})
    tag = made.headers["ETag"]
    second = await control.admin.put(
        "/api/v1/consumers/acme", json={"title": "two"}, headers={"If-Match": tag}
    )
    third = await control.admin.put(
        "/api/v1/consumers/acme", json={"title": "three"}, headers={"If-Match": tag}
    )

    assert second.status_code == 200
    assert third.status_code == 412
    assert third.json()["code"] == "precondition_failed"
    assert (await control.admin.get("/api/v1/consumers/acme")).json()["title"] == "two"


async def test_if_none_match_star_only_creates(control: Control) -> None:
    only_new = {"If-None-Match": "*"}
    first = await control.admin.put("/api/v1/applications/shop", headers=only_new)
    again = await control.admin.put("/api/v1/applications/shop", headers=only_new)
    missing = await control.admin.put("/api/v1/applications/other", headers={"If-Match": "*"})

    assert [first.status_code, again.status_code, missing.status_code] == [201, 412, 412]
    assert (await control.admin.get("/api/v1/applications/other")).status_code == 404


async def test_an_application_without_a_consumer_belongs_to_the_default_one(
    control: Control,
) -> None:
    made = await control.admin.put("/api/v1/applications/shop")

    assert made.json()["consumer"] == "default"
    assert (await control.admin.get("/api/v1/consumers/default")).status_code == 200


async def test_an_application_of_an_unknown_consumer_is_refused(control: Control) -> None:
    refused = await control.admin.put("/api/v1/applications/shop", json={"consumer": "nobody"})

    assert refused.status_code == 404
    assert "/api/v1/consumers/nobody" in refused.json()["detail"]


async def test_an_application_moves_to_another_consumer(control: Control) -> None:
    await control.admin.put("/api/v1/consumers/acme")
    await control.admin.put("/api/v1/applications/shop", json={"title": "Shop"})
    moved = await control.admin.put("/api/v1/applications/shop", json={"consumer": "acme"})

    assert (moved.json()["consumer"], moved.json()["title"]) == ("acme", "Shop")
    found = await control.admin.get("/api/v1/applications", params={"consumer": "acme"})
    assert [item["name"] for item in found.json()["items"]] == ["shop"]


async def test_bad_names_are_refused_and_named(control: Control) -> None:
    for path in ("consumers/Acme", "applications/-x", "applications/" + "a" * 64):
        refused = await control.admin.put(f"/api/v1/{path}")
        assert refused.status_code == 422, path
        assert refused.json()["code"] == "invalid"
    newline = await control.admin.put("/api/v1/consumers/acme%0A")
    assert newline.status_code == 422


async def test_lists_come_in_pages_that_miss_nothing(control: Control) -> None:
    names = [f"c-{number:02d}" for number in range(7)]
    for name in names:
        await control.admin.put(f"/api/v1/consumers/{name}")
    seen: list[str] = []
    after = ""
    while True:
        page = (
            await control.admin.get("/api/v1/consumers", params={"limit": 3, "after": after})
        ).json()
        seen += [item["name"] for item in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]

    assert seen == names


async def test_a_subscription_is_made_moved_listed_and_ended(control: Control) -> None:
    add_model(control, "risk")
    await control.admin.put("/api/v1/applications/shop")
    path = "/api/v1/subscriptions/shop/risk"

    made = await control.admin.put(path, json={"plan": "unlimited"})
    again = await control.admin.put(path, json={"plan": "unlimited"})
    listed = await control.admin.get("/api/v1/subscriptions", params={"application": "shop"})
    other = await control.admin.get("/api/v1/subscriptions", params={"model": "else"})
    ended = await control.admin.delete(path)

    assert [made.status_code, again.status_code, ended.status_code] == [201, 200, 204]
    assert made.json()["plan"] == "unlimited"
    assert [item["model"] for item in listed.json()["items"]] == ["risk"]
    assert other.json()["items"] == []
    assert (await control.admin.get(path)).status_code == 404
    assert (await control.admin.delete(path)).status_code == 404
    changes = control.services.stream.rows(0, 100)
    of_subscription = [
        (one.kind, bytes(one.doc) == b"null") for one in changes if one.kind == "subscription"
    ]
    assert of_subscription == [("subscription", False), ("subscription", True)]


async def test_a_subscription_needs_its_application_model_and_plan(control: Control) -> None:
    add_model(control, "risk")
    body = {"plan": "unlimited"}
    no_application = await control.admin.put("/api/v1/subscriptions/shop/risk", json=body)
    await control.admin.put("/api/v1/applications/shop")
    no_model = await control.admin.put("/api/v1/subscriptions/shop/nothing", json=body)
    no_plan = await control.admin.put("/api/v1/subscriptions/shop/risk", json={"plan": "gold"})

    assert [no_application.status_code, no_model.status_code, no_plan.status_code] == [
        404,
        404,
        422,
    ]
    assert no_model.json()["code"] == "model_not_found"
    assert "unlimited" in no_plan.json()["detail"]


async def test_subscriptions_page_by_application_and_model(control: Control) -> None:
    for model in ("a", "b", "c"):
        add_model(control, model)
    for application in ("x", "y"):
        await control.admin.put(f"/api/v1/applications/{application}")
        for model in ("a", "b", "c"):
            await control.admin.put(
                f"/api/v1/subscriptions/{application}/{model}", json={"plan": "unlimited"}
            )
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        params = {"limit": "2", "after": after}
        page = (await control.admin.get("/api/v1/subscriptions", params=params)).json()
        seen += [f"{item['application']}/{item['model']}" for item in page["items"]]
        after = page["next"]

    assert seen == ["x/a", "x/b", "x/c", "y/a", "y/b", "y/c"]


async def test_a_secret_is_shown_once_and_stored_nowhere(control: Control) -> None:
    await control.admin.put("/api/v1/applications/shop")
    made = await control.admin.post("/api/v1/keys", json={"application": "shop", "label": "till"})
    secret = made.json()["secret"]
    id = made.json()["id"]

    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    assert keys.well_formed(secret.encode())
    assert secret.startswith("tw_live_")
    shown = await control.admin.get(made.headers["Location"])
    listed = await control.admin.get("/api/v1/keys", params={"application": "shop"})
    assert "secret" not in shown.json()
    assert listed.json()["items"] == [shown.json()]
    with control.services.database.read() as connection:
        stored = connection.execute(sa.select(api_keys)).mappings().one()
        changes = connection.execute(sa.text("SELECT doc FROM changes")).scalars().all()
    pepper = control.settings.key_pepper_path.read_bytes().strip()
    assert stored["hash"] == keys.secret_hash(secret.encode(), pepper)
    assert secret not in repr(dict(stored))
    assert all(secret not in (doc or "") for doc in changes)
    assert any(stored["hash"] in (doc or "") and id in (doc or "") for doc in changes)


async def test_a_key_takes_its_environment_models_and_end(control: Control) -> None:
    await control.admin.put("/api/v1/applications/shop")
    await control.admin.put("/api/v1/models/risk")
    end = datetime.fromtimestamp(START_MS / 1000, UTC) + timedelta(days=1)
    body = {
        "application": "shop",
        "environment": "test",
        "models": ["risk"],
        "expires_at": end.isoformat(),
    }
    made = (await control.admin.post("/api/v1/keys", json=body)).json()

    assert made["secret"].startswith("tw_test_")
    assert made["models"] == ["risk"]
    assert datetime.fromisoformat(made["expires_at"]) == end


async def test_keys_that_make_no_sense_are_refused(control: Control) -> None:
    await control.admin.put("/api/v1/applications/shop")
    good = {"application": "shop"}
    cases = [
        ({}, 422),
        ({"application": "nobody"}, 404),
        ({**good, "environment": "admin"}, 422),
        ({**good, "models": []}, 422),
        ({**good, "models": ["Not A Name"]}, 422),
        ({**good, "models": ["risc"]}, 404),
        ({**good, "expires_at": "2001-01-01T00:00:00Z"}, 422),
        ({**good, "expires_at": "2101-01-01T00:00:00"}, 422),
        ({**good, "surprise": 1}, 422),
    ]
    for body, status in cases:
        assert (await control.admin.post("/api/v1/keys", json=body)).status_code == status, body
    assert (await control.admin.get("/api/v1/keys")).json()["items"] == []


async def test_revoking_ends_a_key_for_good_and_can_be_repeated(control: Control) -> None:
    await control.admin.put("/api/v1/applications/shop")
    made = (await control.admin.post("/api/v1/keys", json={"application": "shop"})).json()
    first = await control.admin.post(f"/api/v1/keys/{made['id']}/revoke")
    control.clock.advance(10)
    again = await control.admin.post(f"/api/v1/keys/{made['id']}/revoke")

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert first.json()["revoked_at"] is not None
    last = control.services.stream.rows(0, 100)[-1]
    assert (last.kind, last.key, bytes(last.doc)) == ("key", made["id"], b"null")
    assert (await control.admin.post("/api/v1/keys/key-0/revoke")).status_code == 404


async def test_a_repeated_post_makes_no_second_key_and_tells_no_secret(control: Control) -> None:
    await control.admin.put("/api/v1/applications/shop")
    send = {"json": {"application": "shop"}, "headers": {"Idempotency-Key": "abc"}}
    first = await control.admin.post("/api/v1/keys", **send)  # type: ignore[arg-type]
    again = await control.admin.post("/api/v1/keys", **send)  # type: ignore[arg-type]
    another = await control.admin.post(
        "/api/v1/keys", json={"application": "shop"}, headers={"Idempotency-Key": "def"}
    )

    assert [first.status_code, again.status_code, another.status_code] == [201, 409, 201]
    assert again.json()["code"] == "conflict"
    assert first.json()["id"] in again.json()["detail"]
    assert first.json()["secret"] not in again.text
    assert len((await control.admin.get("/api/v1/keys")).json()["items"]) == 2


async def test_the_same_post_twice_at_once_makes_one_key(control: Control) -> None:
    await control.admin.put("/api/v1/applications/shop")
    answers = await asyncio.gather(
        *(
            control.admin.post(
                "/api/v1/keys", json={"application": "shop"}, headers={"Idempotency-Key": "once"}
            )
            for _ in range(6)
        )
    )

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    assert len((await control.admin.get("/api/v1/keys")).json()["items"]) == 1


async def test_the_change_log_is_readable_without_hashes(control: Control) -> None:
    await control.admin.put("/api/v1/applications/shop")
    for _ in range(3):
        await control.admin.post("/api/v1/keys", json={"application": "shop"})
    seen: list[int] = []
    after: str | None = "0"
    while after is not None:
        params = {"after": after, "limit": "2"}
        page = (await control.admin.get("/api/v1/changes", params=params)).json()
        assert all("hash" not in (one["doc"] or {}) for one in page["items"])
        seen += [one["seq"] for one in page["items"]]
        after = page["next"]

    assert seen == sorted(set(seen))
    assert len(seen) == 8
