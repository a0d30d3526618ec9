"""A model's rollout in the portal."""

from typing import Any

import httpx
import msgspec
import pytest

from control.rollouts.controller import Controller
from protocol.manifest import sha256_digest
from protocol.usage import UsageRecord
from tests.control.audited_models import two_published
from tests.control.portal.conftest import Visiting, filled
from tests.control.rollouts.rollouts import STEPS
from tests.control.running import Control
from tests.control.test_composition import report
from tests.registry import models_onnx

PAGE = "/portal/publish/models/risk/rollout"
API = "/api/v1/models/risk/rollout"


async def begun(control: Control, **canary: Any) -> Controller:
    """Version 1 is stable, and version 2 its guarded canary."""
    await two_published(control)
    for body in ({"stable": 1}, {"canary": {"version": 2, "steps": STEPS, **canary}}):
        answer = await control.admin.put(API, json=body)
        assert answer.is_success, answer.text
    services = control.services
    controller = Controller(services.database, control.clock, services.workers.status)
    controller.run()
    return controller


async def published(control: Control, model: bytes) -> int:
    """A third version, ready and published."""
    blob = {"digest": sha256_digest(model), "size": len(model)}
    begun = (await control.admin.post("/api/v1/blobs/uploads", json=blob)).json()
    upload = f"/api/v1/blobs/uploads/{begun['id']}"
    await control.admin.patch(upload, content=model, headers={"Upload-Offset": "0"})
    await control.admin.post(f"{upload}/complete")
    made = await control.admin.post("/api/v1/models/risk/versions", json={"artifact": blob})
    number = int(made.json()["number"])
    await report(control, number, "ready", beside=(1, 2))
    for to in ("validated", "approved", "published"):
        path = f"/api/v1/models/risk/versions/{number}/transitions"
        assert (await control.admin.post(path, json={"to": to})).is_success
    return number


async def answered(control: Control, requests: int, *, canary_errors: int = 0) -> None:
    """So many requests of each version are counted."""
    records = [
        UsageRecord(
            control.clock(), "shop", "key-1", "risk", version, variant,
            500 if version == 2 and at < canary_errors else 200, 1, 10, 100, 1000, 300, 50, "p",
        )
        for version, variant in ((1, "stable"), (2, "canary"))
        for at in range(requests)
    ]  # fmt: skip
    body = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
    control.services.usage.store.ingest("gw", f"s{control.clock()}", 0, body)


async def send(client: httpx.AsyncClient, path: str, **form: str) -> httpx.Response:
    """Send a form of the page."""
    found = await filled(client, f"{PAGE}/{path}", PAGE)
    return await client.post(f"{PAGE}/{path}", data={**found, **form})


async def publisher_of(control: Control, visiting: Visiting) -> httpx.AsyncClient:
    """A publisher who manages the model."""
    client = await visiting("publisher")
    given = await control.admin.put("/api/v1/models/risk/owner", json={"user": "robin-publisher"})
    assert given.is_success, given.text
    return client


async def test_the_page_shows_what_answers_and_how_sure_the_guard_is(
    control: Control, visiting: Visiting
) -> None:
    controller = await begun(control)
    for _ in range(3):
        await answered(control, 50, canary_errors=2)
        control.clock.advance(2)
        controller.run()
    publisher = await publisher_of(control, visiting)
    shown = (await publisher.get(PAGE)).text
    for text in ("Version 2", "5 %", "Failed requests", "150 requests of the canary", "<polyline"):
        assert text in shown
    callers = (await publisher.get(f"{PAGE}/callers.json")).json()
    assert [one["application"] for one in callers["items"]] == ["shop"]
    assert 0 < callers["items"][0]["canary_from"] <= 100
    assert callers["requests"] == 300


async def test_those_who_only_read_get_no_button(control: Control, visiting: Visiting) -> None:
    await begun(control)
    auditor = await visiting("auditor")
    shown = await auditor.get(PAGE)
    assert shown.status_code == 200
    assert "Version 2" in shown.text
    assert f'action="{PAGE}' not in shown.text
    assert (await send(auditor, "rollback")).status_code == 403
    consumer = await visiting("consumer")
    assert (await consumer.get(PAGE)).status_code == 403


async def test_a_canary_is_paused_advanced_and_ended_with_a_reason(
    control: Control, visiting: Visiting
) -> None:
    await begun(control)
    publisher = await publisher_of(control, visiting)
    for action in ("pause", "resume", "advance", "abort"):
        done = await send(publisher, f"canary/{action}", reason=f"to {action}")
        assert (done.status_code, done.headers["location"]) == (303, PAGE)
    shown = (await publisher.get(PAGE)).text
    assert "to abort" in shown
    assert "aborted" in shown
    refused = await send(publisher, "canary/pause")
    assert refused.status_code == 404
    assert "no guarded canary under way" in refused.text


async def test_a_guarded_canary_begins_with_the_steps_of_the_form(
    control: Control, visiting: Visiting
) -> None:
    await two_published(control)
    await control.admin.put(API, json={"stable": 1})
    publisher = await publisher_of(control, visiting)
    plan = {
        "canary.version": "2",
        "canary.steps.0.percent": "0.5",
        "canary.steps.0.min_duration_s": "30",
        "canary.steps.0.min_requests": "50",
        "canary.steps.2.percent": "100",
        "canary.guard.max_error_rate_increase": "0.01",
        "canary.guard.max_disagreement": "0.02",
        "canary.promote": "on",
    }
    refused = await send(publisher, "guarded", **plan, **{"canary.steps.3.percent": "7"})
    assert refused.status_code == 422
    assert "must rise from step to step" in refused.text
    assert 'value="0.02"' in refused.text
    begun = await send(publisher, "guarded", **plan)
    assert begun.status_code == 303, begun.text
    rollout = (await control.admin.get(API)).json()
    assert [step["percent"] for step in rollout["canary"]["steps"]] == [0.5, 100]
    assert rollout["canary"]["guard"]["p99_ratio"] is None
    assert rollout["canary"]["promote"]
    assert rollout["shadow"] == [{"version": 2, "percent": 100}], "disagreement needs a shadow"


async def test_a_share_out_of_bounds_is_refused_beside_its_field(
    control: Control, visiting: Visiting
) -> None:
    await two_published(control)
    await control.admin.put(API, json={"stable": 1})
    publisher = await publisher_of(control, visiting)
    form = {"canary.version": "2", "canary.percent": "12.34"}
    refused = await send(publisher, "share", **form)
    assert refused.status_code == 422
    assert 'id="share-error">' in refused.text
    done = await send(publisher, "share", **form | {"canary.percent": "12.3"})
    assert done.status_code == 303
    assert (await control.admin.get(API)).json()["canary"]["percent"] == 12.3


async def test_one_button_rolls_back_and_says_what_answers(
    control: Control, visiting: Visiting
) -> None:
    await two_published(control)
    for number in (1, 2):
        await control.admin.put(API, json={"stable": number})
    publisher = await publisher_of(control, visiting)
    assert "Roll back to version 1" in (await publisher.get(PAGE)).text
    other = await send(publisher, "rollback", reason="seen before", to="2")
    assert other.status_code == 409
    done = await send(publisher, "rollback", reason="biased", to="1")
    assert done.status_code == 303
    shown = (await publisher.get(PAGE)).text
    assert "Rolled back: version 1 answers now." in shown
    assert "Roll back to version" not in shown


async def test_the_number_of_calls_does_not_grow_with_what_there_is(
    control: Control, visiting: Visiting, calls: list[str]
) -> None:
    controller = await begun(control)
    publisher = await publisher_of(control, visiting)
    calls.clear()
    await publisher.get(PAGE)
    first, calls[:] = len(calls), []
    for share in (6, 7, 8, 9):
        await control.admin.put(API, json={"canary": {"version": 2, "percent": share}})
        control.clock.advance(1)
        controller.run()
    await publisher.get(PAGE)
    assert len(calls) == first


async def test_hostile_titles_and_reasons_stay_text(control: Control, visiting: Visiting) -> None:
    hostile = "<script>alert(1)</script>{{7*7}}"
    await begun(control)
    publisher = await publisher_of(control, visiting)
    await control.admin.put("/api/v1/models/risk", json={"title": hostile})
    await send(publisher, "canary/abort", reason=hostile)
    shown = (await publisher.get(PAGE)).text
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}" in shown


async def test_what_breaks_callers_is_listed_and_forced_only_with_a_reason(
    control: Control, visiting: Visiting
) -> None:
    first, _ = await two_published(control)
    third = await published(control, models_onnx.linear(4).SerializeToString())
    await control.admin.put(API, json={"stable": first})
    publisher = await publisher_of(control, visiting)
    refused = await send(publisher, "stable", stable=str(third))
    assert refused.status_code == 409
    assert "Callers would be broken." in refused.text
    assert "<li>" in refused.text.partition("Callers would be broken.")[2]
    forced = await send(publisher, "stable", stable=str(third), force="on", reason="agreed")
    assert forced.status_code == 303, forced.text
    assert (await control.admin.get(API)).json()["stable"] == third


@pytest.mark.parametrize("role", ["publisher", "auditor"])
async def test_callers_are_links_for_those_alone_who_may_open_them(
    role: str, control: Control, visiting: Visiting
) -> None:
    await begun(control)
    await answered(control, 5)
    client = await (publisher_of(control, visiting) if role == "publisher" else visiting(role))
    for page in ("callers", "versions/1/deprecation"):
        shown = await client.get(f"/portal/publish/models/risk/{page}")
        assert shown.status_code == 200
        assert "shop" in shown.text
        is_linked = 'href="/portal/applications/shop"' in shown.text
        assert is_linked == (role == "auditor")
