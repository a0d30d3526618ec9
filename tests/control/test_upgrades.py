"""What would change for an application with another version: from shadows, for its own people."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.control.running import Control
from tests.control.tenants import register
from tests.control.test_captures import capture, send
from tests.control.test_disagreements import example, place, summary, tally
from tests.control.test_pins import user

PREVIEW = "/api/v1/applications/shop/upgrades/risk?from=2&to=1"
CAPTURES = "/api/v1/applications/shop/captures/risk"


@pytest.fixture
async def ready(control: Control) -> Control:
    """``shop`` of ``acme`` calls ``risk``, whose version 1 was a shadow beside 2."""
    await control.admin.put("/api/v1/models/risk")
    for number in (1, 2):
        register(control, "risk", "admin", "published", number)
    await control.admin.put("/api/v1/models/risk", json={"capture_percent": 10})
    await control.admin.put("/api/v1/consumers/acme")
    for name in ("shop", "other"):
        body = {"consumer": "acme" if name == "shop" else "default"}
        await control.admin.put(f"/api/v1/applications/{name}", json=body)
    examples = (example(1), example(2, application="other"), example(3, against=7))
    told = summary(1, (place(), tally()), (place(application="other"), tally()), examples=examples)
    assert control.services.disagreements.take(told)
    await send(
        control, capture(1, version=2), capture(2), capture(3, version=2, application="other")
    )
    return control


@pytest.fixture
async def anna(ready: Control) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody of ``acme``."""
    async with await user(ready, "anna", role="consumer", consumer="acme") as client:
        yield client


async def test_a_consumer_sees_how_many_of_their_rows_would_be_answered_otherwise(
    anna: httpx.AsyncClient,
) -> None:
    answer = await anna.get(PREVIEW)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["answers"] == {
        "basis": "shadow",
        "reason": "rows in another class; 1 requests could not be compared",
        "compared": 6,
        "different": 2,
        "share": 2 / 6,
    }
    assert [one["prediction_id"] for one in found["examples"]] == ["p-1"]
    assert (found["captured"], found["capture_percent"]) == (1, 10)


async def test_that_example_rows_were_read_is_in_the_audit_log(
    ready: Control, anna: httpx.AsyncClient
) -> None:
    await anna.get(PREVIEW)
    entries = (await ready.admin.get("/api/v1/audit?action=capture.read")).json()["items"]
    assert [(one["actor"], one["key"]) for one in entries] == [("anna", "p-1")]


async def test_where_no_shadow_was_nothing_is_known(
    ready: Control, anna: httpx.AsyncClient
) -> None:
    await ready.admin.put("/api/v1/applications/quiet", json={"consumer": "acme"})
    found = (await anna.get(PREVIEW.replace("shop", "quiet"))).json()
    assert found["answers"]["basis"] == "unknown"
    assert found["examples"] == []
    assert found["captured"] == 0


async def test_others_applications_and_versions_that_are_not_there_are_missing(
    anna: httpx.AsyncClient,
) -> None:
    for path in (
        PREVIEW.replace("shop", "other"),
        PREVIEW.replace("to=1", "to=9"),
        PREVIEW.replace("risk", "none"),
        CAPTURES.replace("shop", "other"),
    ):
        assert (await anna.get(path)).status_code == 404, path


async def test_a_consumer_lists_the_captures_of_their_own_application(
    ready: Control, anna: httpx.AsyncClient
) -> None:
    found = (await anna.get(CAPTURES)).json()["items"]
    assert {one["application"] for one in found} == {"shop"}
    assert [one["version"] for one in found] == [1, 2]
    of_two = (await anna.get(CAPTURES + "?version=2")).json()["items"]
    assert [one["version"] for one in of_two] == [2]
    payload = await anna.get(f"/api/v1/predictions/{of_two[0]['id']}/capture")
    assert payload.status_code == 200
    async with await user(ready, "pat", role="publisher") as stranger:
        assert (await stranger.get(CAPTURES)).status_code in (403, 404)
