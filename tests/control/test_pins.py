"""Pins: set by an application's consumer or by who manages the model, and what they hold."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from protocol.configuration import PinDoc
from tests.control.audited_models import two_published
from tests.control.running import Control, connect
from tests.control.test_audit_answered import ask, moment
from tests.control.test_composition import report

PIN = "/api/v1/applications/shop/pins/risk"
USERS = "/api/v1/users"
PASSWORD = "correct horse battery staple"


@pytest.fixture
async def ready(control: Control) -> Control:
    """A model ``risk`` with two published versions; ``shop`` of ``acme`` subscribes to it."""
    await two_published(control)
    await control.admin.put("/api/v1/models/risk/rollout", json={"stable": 2})
    await control.admin.put("/api/v1/consumers/acme")
    await control.admin.put("/api/v1/applications/shop", json={"consumer": "acme"})
    await control.admin.put("/api/v1/subscriptions/shop/risk", json={"plan": "unlimited"})
    return control


@pytest.fixture
async def consumer(ready: Control) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody of ``acme``."""
    async with await user(ready, "anna", role="consumer", consumer="acme") as client:
        yield client


async def user(control: Control, name: str, **fields: Any) -> httpx.AsyncClient:
    body = {"password": PASSWORD, **fields}
    assert (await control.admin.put(f"{USERS}/{name}", json=body)).status_code == 201
    begun = await control.anonymous.post(
        "/api/v1/sessions", json={"name": name, "password": PASSWORD}
    )
    return connect(control.app, begun.json()["secret"])


def announced(control: Control) -> PinDoc | None:
    newest = [c for c in control.services.stream.rows(0, 1000) if c.kind == "pin"][-1]
    return msgspec.json.decode(newest.doc, type=PinDoc | None)


async def test_a_consumer_pins_their_application_and_takes_the_pin_away(
    ready: Control, consumer: httpx.AsyncClient
) -> None:
    made = await consumer.put(PIN, json={"version": 1, "reason": "not tested yet"})
    assert made.status_code == 201, made.text
    assert {**made.json(), "created_at": "", "updated_at": ""} == {
        "application": "shop",
        "model": "risk",
        "version": 1,
        "set_by": "consumer",
        "reason": "not tested yet",
        "created_at": "",
        "updated_at": "",
    }
    assert announced(ready) == PinDoc(application="shop", model="risk", version=1)
    found = await consumer.get(PIN)
    assert found.headers["ETag"] == made.headers["ETag"]
    listed = (await consumer.get("/api/v1/applications/shop/pins")).json()["items"]
    assert listed == [made.json()]
    assert (await consumer.delete(PIN)).status_code == 204
    assert announced(ready) is None
    assert (await consumer.get(PIN)).status_code == 404
    assert (await consumer.delete(PIN)).status_code == 404


async def test_a_version_on_its_way_out_takes_no_new_pins_and_keeps_those_that_it_has(
    ready: Control, consumer: httpx.AsyncClient
) -> None:
    assert (await consumer.put(PIN, json={"version": 1})).status_code == 201
    ending = await ready.admin.put(
        "/api/v1/models/risk/versions/1/deprecation", json={"successor": 2}
    )
    assert ending.status_code == 200
    assert (await consumer.put(PIN, json={"version": 1})).status_code == 200
    assert (await consumer.delete(PIN)).status_code == 204
    refused = await consumer.put(PIN, json={"version": 1})
    assert refused.status_code == 409
    assert "pin its successor, version 2" in refused.json()["detail"]


async def test_who_manages_the_model_pins_applications_that_call_it(ready: Control) -> None:
    async with await user(ready, "paul", role="publisher") as paul:
        assert (await paul.put(PIN, json={"version": 1})).status_code == 404
        await ready.admin.put("/api/v1/models/risk/grants/paul")
        made = await paul.put(PIN, json={"version": 1})
        assert (made.status_code, made.json()["set_by"]) == (201, "publisher")
        of_model = (await paul.get("/api/v1/models/risk/pins")).json()["items"]
        of_application = (await paul.get("/api/v1/applications/shop/pins")).json()["items"]
        assert of_model == of_application == [made.json()]


async def test_a_pin_moves_only_from_where_it_was_read(
    ready: Control, consumer: httpx.AsyncClient
) -> None:
    made = await consumer.put(PIN, json={"version": 1}, headers={"If-None-Match": "*"})
    again = await consumer.put(PIN, json={"version": 1}, headers={"If-None-Match": "*"})
    moved = await consumer.put(PIN, json={"version": 2}, headers={"If-Match": made.headers["ETag"]})
    stale = await consumer.put(PIN, json={"version": 1}, headers={"If-Match": made.headers["ETag"]})
    assert [a.status_code for a in (made, again, moved, stale)] == [201, 412, 200, 412]


async def test_only_a_version_in_service_is_pinned(
    ready: Control, consumer: httpx.AsyncClient
) -> None:
    blob = (await ready.admin.get("/api/v1/models/risk/versions/1")).json()["manifest"]["artifact"]
    body = {"artifact": {"digest": blob["digest"], "size": blob["size"]}, "description": "new"}
    staged = (await ready.admin.post("/api/v1/models/risk/versions", json=body)).json()["number"]
    hidden = await consumer.put(PIN, json={"version": staged})
    missing = await consumer.put(PIN, json={"version": 99})
    assert (hidden.status_code, missing.status_code) == (404, 404)
    assert hidden.json()["detail"].replace(str(staged), "99") == missing.json()["detail"]
    known = await ready.admin.put(PIN, json={"version": staged})
    assert (known.status_code, "is registered" in known.json()["detail"]) == (409, True)
    ready.clock.advance(1)
    await report(ready, 1, "failed", "out of memory", beside=(2,))
    failed = await consumer.put(PIN, json={"version": 1})
    assert (failed.status_code, "not ready" in failed.json()["detail"]) == (409, True)


async def test_a_pin_needs_an_active_subscription_and_ends_with_it(
    ready: Control, consumer: httpx.AsyncClient
) -> None:
    await ready.admin.put("/api/v1/applications/other", json={"consumer": "acme"})
    none = await consumer.put("/api/v1/applications/other/pins/risk", json={"version": 1})
    assert (none.status_code, "no subscription" in none.json()["detail"]) == (404, True)
    await consumer.put(PIN, json={"version": 1})
    await consumer.delete("/api/v1/subscriptions/shop/risk")
    assert announced(ready) is None
    assert (await consumer.get("/api/v1/applications/shop/pins")).json()["items"] == []


async def test_a_pin_ends_with_its_application(ready: Control, consumer: httpx.AsyncClient) -> None:
    await consumer.put(PIN, json={"version": 1})
    assert (await consumer.delete("/api/v1/applications/shop")).status_code == 204
    assert announced(ready) is None
    entries = (await ready.admin.get("/api/v1/audit", params={"kind": "pin"})).json()["items"]
    assert {entry["action"] for entry in entries} == {"pin.created", "pin.deleted"}


async def test_a_pinned_version_stays_in_service(
    ready: Control, consumer: httpx.AsyncClient
) -> None:
    await consumer.put(PIN, json={"version": 1})
    version = "/api/v1/models/risk/versions/1"
    unload = await ready.admin.patch(version, json={"loaded": False})
    await ready.admin.post(f"{version}/transitions", json={"to": "deprecated"})
    retire = await ready.admin.post(f"{version}/transitions", json={"to": "retired"})
    for refused in (unload, retire):
        assert refused.status_code == 409
        assert "the pin of application 'shop'" in refused.json()["detail"]
    await consumer.delete(PIN)
    assert (await ready.admin.patch(version, json={"loaded": False})).status_code == 200


async def test_a_pin_holds_a_version_until_its_sunset_and_no_longer(
    ready: Control, consumer: httpx.AsyncClient
) -> None:
    await consumer.put(PIN, json={"version": 1})
    version = "/api/v1/models/risk/versions/1"
    sunset = {"sunset": moment(ready.clock() + 3_600_000), "retire_at_sunset": True}
    ended = await ready.admin.put(f"{version}/deprecation", json=sunset)
    assert ended.json()["held_by"] == ["the pin of application 'shop'"]

    ready.clock.advance(3599)
    early = await ready.admin.post(f"{version}/transitions", json={"to": "retired"})
    assert (early.status_code, ready.services.transitions.job.run()) == (409, 0)
    ready.clock.advance(1)
    assert (await ready.admin.get(f"{version}/deprecation")).json()["held_by"] == []
    unload = await ready.admin.patch(version, json={"loaded": False})
    assert unload.status_code == 409  # it still answers who is pinned

    ready.services.transitions.job.run()
    end = (await ready.admin.get(f"{version}/deprecation")).json()
    assert (end["state"], end["held_by"]) == ("retired", [])
    # The pin stays, so that its calls are answered 410 and not by a version that nobody chose.
    assert (await consumer.get(PIN)).json()["version"] == 1
    assert (await consumer.delete(PIN)).status_code == 204


async def test_other_tenants_pins_do_not_exist(ready: Control) -> None:
    await ready.admin.put(PIN, json={"version": 1})
    await ready.admin.put("/api/v1/consumers/rival")
    async with await user(ready, "rita", role="consumer", consumer="rival") as rita:
        for method, path in (
            ("GET", PIN),
            ("PUT", PIN),
            ("DELETE", PIN),
            ("GET", "/api/v1/applications/shop/pins"),
        ):
            body = {"version": 2} if method == "PUT" else None
            assert (await rita.request(method, path, json=body)).status_code == 404
        assert (await rita.get("/api/v1/models/risk/pins")).status_code == 403
    assert (await ready.admin.get(PIN)).json()["version"] == 1


async def test_lists_come_in_pages(ready: Control) -> None:
    for name in ("a", "b", "c"):
        await ready.admin.put(f"/api/v1/applications/{name}")
        await ready.admin.put(f"/api/v1/subscriptions/{name}/risk", json={"plan": "unlimited"})
        await ready.admin.put(f"/api/v1/applications/{name}/pins/risk", json={"version": 1})
    path = "/api/v1/models/risk/pins"
    first = (await ready.admin.get(path, params={"limit": 2})).json()
    rest = (await ready.admin.get(path, params={"limit": 2, "after": first["next"]})).json()
    assert [p["application"] for p in first["items"] + rest["items"]] == ["a", "b", "c"]
    assert rest["next"] is None


async def test_which_version_answered_when_knows_of_pins_and_canaries(ready: Control) -> None:
    rollout = "/api/v1/models/risk/rollout"
    at = [ready.clock.now_ms]

    async def later(method: str, path: str, body: object = None) -> None:
        ready.clock.advance(60)
        await report(ready, 2, "ready", beside=(1,))
        assert (await ready.admin.request(method, path, json=body)).is_success
        at.append(ready.clock.now_ms)

    await later("PUT", rollout, {"canary": {"version": 1, "percent": 100}})
    await later("PUT", PIN, {"version": 2})
    await later("DELETE", PIN)
    await later("PUT", rollout, {"canary": {"version": 1, "percent": 0}})
    await later("PUT", rollout, {"stable": 1})
    found = [(await ask(ready, moment))["routed"] for moment in at]
    assert [(one["version"], one["variant"]) for one in found] == [
        (2, "stable"),
        (1, "canary"),
        (2, "pinned"),
        (1, "canary"),
        (2, "stable"),
        (1, "stable"),
    ]
    assert found[1]["since"].startswith(moment(at[1])[:19])
