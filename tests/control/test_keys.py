"""Keys over their life: restrictions, rotation with an overlap, the last use, the end."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest
import sqlalchemy as sa

from control.app import create_app
from control.settings import ControlSettings
from control.store.rotation import MAX_OVERLAPS, drop_ended_overlaps
from control.store.tables import api_keys, key_overlaps
from policies.api_key import ApiKeyPolicy
from policies.base import Call
from protocol import keys
from protocol.configuration import KeyDoc
from protocol.errors import TollwayError
from registry.store.audit import audit
from tests.control.keys import DAY_S, make, rotate
from tests.control.running import START_MS, Control, FakeClock, connect


def gateway(control: Control) -> ApiKeyPolicy:
    """A gateway's view of the keys, from the stream, with control's clock."""
    pepper = control.settings.key_pepper_path.read_bytes().strip()
    policy = ApiKeyPolicy(pepper, lambda: control.clock.now_ms / 1000)
    for one in control.services.stream.rows(0, 10_000):
        if one.kind == "key":
            document = msgspec.json.decode(one.doc, type=KeyDoc | None)
            if document is None:
                policy.remove(one.key)
            else:
                policy.put(document)
    return policy


def known_as(control: Control, secret: str) -> str | None:
    """The id under which a gateway takes the secret now; None: it refuses it."""
    call = Call(model="risk", credential=secret.encode())
    try:
        gateway(control).check(call)
    except TollwayError:
        return None
    assert call.identity is not None
    return call.identity.key


def actions(control: Control, key: str) -> list[str]:
    query = sa.select(audit.c.action).where(audit.c.kind == "key", audit.c.key == key)
    with control.services.database.read() as connection:
        return list(connection.execute(query.order_by(audit.c.seq)).scalars())


async def test_an_overlap_keeps_the_earlier_secret_for_exactly_its_time(control: Control) -> None:
    made = await make(control, label="till")
    rotated = (await rotate(control, made["id"], 3600)).json()

    assert rotated["id"] == made["id"]
    assert rotated["label"] == "till"
    assert rotated["generation"] == 2
    assert rotated["secret"] != made["secret"]
    assert [one["prefix"] for one in rotated["overlaps"]] == [made["prefix"]]
    assert known_as(control, made["secret"]) == made["id"]
    assert known_as(control, rotated["secret"]) == made["id"]
    control.clock.advance(3599)
    assert known_as(control, made["secret"]) == made["id"]
    control.clock.advance(1)
    assert known_as(control, made["secret"]) is None
    assert known_as(control, rotated["secret"]) == made["id"]
    shown = (await control.admin.get(f"/api/v1/keys/{made['id']}")).json()
    assert shown["overlaps"] == []


async def test_an_overlap_is_never_longer_than_was_asked_for(control: Control) -> None:
    made = await make(control)
    control.clock.advance(0.7)
    await rotate(control, made["id"], 10)
    control.clock.advance(10)

    assert known_as(control, made["secret"]) is None


async def test_an_overlap_of_zero_ends_every_earlier_secret_now(control: Control) -> None:
    first = await make(control)
    second = (await rotate(control, first["id"], DAY_S)).json()
    third = (await rotate(control, first["id"], 0)).json()

    assert known_as(control, first["secret"]) is None
    assert known_as(control, second["secret"]) is None
    assert known_as(control, third["secret"]) == first["id"]
    assert third["generation"] == 3
    assert third["overlaps"] == []


async def test_a_shorter_overlap_shortens_the_ones_before_and_never_lengthens(
    control: Control,
) -> None:
    first = await make(control)
    second = (await rotate(control, first["id"], 60)).json()
    third = (await rotate(control, first["id"], DAY_S)).json()
    control.clock.advance(60)

    assert known_as(control, first["secret"]) is None
    assert known_as(control, second["secret"]) == first["id"]
    await rotate(control, first["id"], 10)
    control.clock.advance(10)
    assert known_as(control, second["secret"]) is None
    assert known_as(control, third["secret"]) is None


async def test_no_earlier_secret_outlives_the_key(control: Control) -> None:
    end = datetime.fromtimestamp(START_MS / 1000, UTC) + timedelta(seconds=100)
    made = await make(control, expires_at=end.isoformat())
    rotated = (await rotate(control, made["id"], DAY_S)).json()
    sooner = (end - timedelta(seconds=50)).isoformat()
    await control.admin.patch(f"/api/v1/keys/{made['id']}", json={"expires_at": sooner})
    control.clock.advance(50)

    assert known_as(control, made["secret"]) is None
    assert known_as(control, rotated["secret"]) is None


async def test_only_so_many_earlier_secrets_may_work(control: Control) -> None:
    made = await make(control)
    for _ in range(MAX_OVERLAPS):
        assert (await rotate(control, made["id"], 60)).status_code == 200
    refused = await rotate(control, made["id"], 60)

    assert refused.status_code == 409
    assert "overlap_s 0" in refused.json()["detail"]
    assert (await rotate(control, made["id"], 0)).status_code == 200


@pytest.mark.parametrize("body", [{}, {"overlap_s": -1}, {"overlap_s": 30 * DAY_S + 1}])
async def test_the_caller_has_to_choose_an_overlap(control: Control, body: object) -> None:
    made = await make(control)
    refused = await control.admin.post(f"/api/v1/keys/{made['id']}/rotate", json=body)

    assert refused.status_code == 422
    assert "overlap_s" in refused.text


async def test_a_repeated_rotation_makes_no_second_secret(control: Control) -> None:
    made = await make(control)
    send = {"headers": {"Idempotency-Key": "once"}}
    first = await rotate(control, made["id"], 60, **send)
    again = await rotate(control, made["id"], 60, **send)

    assert [first.status_code, again.status_code] == [200, 409]
    assert first.headers["Cache-Control"] == "no-store"
    assert first.json()["secret"] not in again.text
    assert known_as(control, first.json()["secret"]) == made["id"]


async def test_revoking_ends_all_secrets_at_once(control: Control) -> None:
    made = await make(control)
    second = (await rotate(control, made["id"], DAY_S)).json()
    third = (await rotate(control, made["id"], DAY_S)).json()
    revoked = await control.admin.post(f"/api/v1/keys/{made['id']}/revoke")

    assert revoked.json()["overlaps"] == []
    for secret in (made["secret"], second["secret"], third["secret"]):
        assert known_as(control, secret) is None
    with control.services.database.read() as connection:
        assert connection.execute(sa.select(key_overlaps)).all() == []
    for refused in (
        await rotate(control, made["id"], 0),
        await control.admin.patch(f"/api/v1/keys/{made['id']}", json={"label": "x"}),
    ):
        assert refused.status_code == 409
        assert "revoked" in refused.json()["detail"]


async def test_an_expired_key_stays_expired(control: Control) -> None:
    end = datetime.fromtimestamp(START_MS / 1000, UTC) + timedelta(seconds=10)
    made = await make(control, expires_at=end.isoformat())
    control.clock.advance(10)
    path = f"/api/v1/keys/{made['id']}"

    assert (await control.admin.patch(path, json={"expires_at": None})).status_code == 409
    assert (await rotate(control, made["id"], 0)).status_code == 409


async def test_a_change_reaches_every_secret_that_works(control: Control) -> None:
    made = await make(control)
    second = (await rotate(control, made["id"], DAY_S)).json()
    path = f"/api/v1/keys/{made['id']}"
    change = {"label": "narrow", "scopes": ["metadata"], "networks": ["::1"], "models": ["risk"]}
    changed = (await control.admin.patch(path, json=change)).json()
    documents = [
        msgspec.json.decode(one.doc, type=KeyDoc)
        for one in control.services.stream.rows(0, 100)
        if one.kind == "key"
    ]

    assert changed["label"] == "narrow"
    assert "secret" not in changed
    assert {one.id for one in documents[-2:]} == {made["id"], made["id"] + ".2"}
    for document in documents[-2:]:
        assert document.scopes == ("metadata",)
        assert document.networks == ("::1/128",)
        assert document.models == ("risk",)
    assert known_as(control, second["secret"]) == made["id"]


async def test_a_patch_leaves_what_it_does_not_name_and_null_lifts(control: Control) -> None:
    made = await make(control, label="a", scopes=["predict"], models=["risk"], networks=["::1"])
    path = f"/api/v1/keys/{made['id']}"
    one = (await control.admin.patch(path, json={"label": "b"})).json()
    two = (await control.admin.patch(path, json={"scopes": None, "networks": None})).json()
    nothing = (await control.admin.patch(path, json={})).json()

    assert (one["label"], one["scopes"], one["models"]) == ("b", ["predict"], ["risk"])
    assert (two["scopes"], two["networks"], two["models"]) == (None, [], ["risk"])
    assert nothing == two
    assert (await control.admin.patch(path, json={"label": None})).status_code == 422
    assert (await control.admin.patch(path, json={"environment": "test"})).status_code == 422
    assert actions(control, made["id"]) == ["key.created", "key.changed", "key.changed"]


async def test_every_answer_with_a_key_has_the_tag_that_changes_it(control: Control) -> None:
    await control.admin.put("/api/v1/applications/shop")
    made = await control.admin.post("/api/v1/keys", json={"application": "shop"})
    path = f"/api/v1/keys/{made.json()['id']}"
    assert (await control.admin.get(path)).headers["ETag"] == made.headers["ETag"]

    seen = {"If-Match": made.headers["ETag"]}
    rotated = await rotate(control, made.json()["id"], 0, headers=seen)
    assert (await control.admin.get(path)).headers["ETag"] == rotated.headers["ETag"]

    seen = {"If-Match": rotated.headers["ETag"]}
    put = await control.admin.put(path, json={"label": "till"}, headers=seen)
    again = await control.admin.put(path, json={"label": "till"})
    assert (put.status_code, put.headers["ETag"]) == (200, again.headers["ETag"])
    assert actions(control, made.json()["id"]).count("key.changed") == 1

    revoked = await control.admin.post(path + "/revoke", headers={"If-Match": put.headers["ETag"]})
    assert (await control.admin.get(path)).headers["ETag"] == revoked.headers["ETag"]


async def test_an_application_has_a_bounded_number_of_keys_that_work(
    settings: ControlSettings, clock: FakeClock
) -> None:
    app = create_app(settings.model_copy(update={"max_keys_per_application": 2}), clock=clock)
    async with app.router.lifespan_context(app):
        admin = connect(app, settings.admin_token_path.read_text().strip())
        await admin.put("/api/v1/applications/shop")
        await admin.put("/api/v1/applications/other")

        async def create(application: str = "shop", **more: object) -> httpx.Response:
            return await admin.post("/api/v1/keys", json={"application": application, **more})

        end = datetime.fromtimestamp(clock.now_ms / 1000, UTC) + timedelta(hours=1)
        first, second = await create(), await create(expires_at=end.isoformat())
        refused = await create()
        assert (first.status_code, second.status_code, refused.status_code) == (201, 201, 409)
        assert "revoke one first" in refused.json()["detail"]
        assert (await create("other")).status_code == 201

        await admin.post(f"/api/v1/keys/{first.json()['id']}/revoke")
        assert (await create()).status_code == 201
        assert (await create()).status_code == 409
        clock.advance(3601)  # the second has expired
        assert (await create()).status_code == 201


async def test_ended_overlaps_are_forgotten_in_time(control: Control) -> None:
    made = await make(control)
    await rotate(control, made["id"], 60)
    await rotate(control, made["id"], DAY_S)
    services = control.services

    assert drop_ended_overlaps(services.database, services.clock) == 0
    control.clock.advance(60)
    assert drop_ended_overlaps(services.database, services.clock) == 1
    last = services.stream.rows(0, 100)[-1]
    assert (last.key, bytes(last.doc)) == (made["id"], b"null")
    control.clock.advance(DAY_S)
    assert drop_ended_overlaps(services.database, services.clock) == 1
    with services.database.read() as connection:
        assert connection.execute(sa.select(key_overlaps)).all() == []


async def test_what_is_recorded_shows_what_the_api_shows_and_no_secret(control: Control) -> None:
    made = await make(control)
    rotated = (await rotate(control, made["id"], 60)).json()
    await control.admin.post(f"/api/v1/keys/{made['id']}/revoke")
    with control.services.database.read() as connection:
        hashes = list(connection.execute(sa.select(api_keys.c.hash)).scalars())
        rows = connection.execute(sa.select(audit).where(audit.c.kind == "key")).all()
        entries = repr(rows)

    assert actions(control, made["id"]) == ["key.created", "key.rotated", "key.revoked"]
    after = json.loads(rows[1].after)
    assert after == {k: v for k, v in rotated.items() if k != "secret"}
    for hidden in (made["secret"], rotated["secret"], *hashes):
        assert hidden not in entries


@pytest.mark.parametrize("rest", ["", "/revoke", "/rotate"])
async def test_a_secret_pasted_as_an_id_is_not_repeated(control: Control, rest: str) -> None:
    secret = keys.generate("live")
    path = f"/api/v1/keys/{secret}{rest}"
    answers = [
        await control.admin.get(path),
        await control.admin.patch(path, json={"label": "x"}),
        await control.admin.post(path, json={"overlap_s": 0}),
    ]

    for answer in answers:
        assert answer.status_code in (404, 405, 422)
        assert secret not in answer.text
