"""A model's shadows in the portal."""

import re
from typing import Any

import pytest

from control.portal.api import Api
from protocol.shadowing import MirrorCount, MirrorCounts
from tests.control.audited_models import two_published
from tests.control.portal.conftest import Visiting, filled, token_of
from tests.control.running import Control
from tests.control.tenants import register
from tests.control.test_disagreements import example, place, summary, tally

SHADOWS = "/portal/publish/models/risk/shadows"
ROLLOUT = "/api/v1/models/risk/rollout"
HOSTILE = "<script>alert(1)</script>"


async def test_a_publisher_adds_a_shadow_sets_its_share_and_ends_it(
    control: Control, visiting: Visiting
) -> None:
    await two_published(control)
    await control.admin.put(ROLLOUT, json={"stable": 1})
    publisher, auditor = await visiting("publisher"), await visiting("auditor")
    await control.admin.put("/api/v1/models/risk/owner", json={"user": "robin-publisher"})
    assert "No version is a shadow" in (await publisher.get(SHADOWS)).text
    token = await token_of(publisher)
    for percent in ("100", "12.5"):
        form = {**await filled(publisher, SHADOWS), "version": "2", "percent": percent}
        done = await publisher.post(SHADOWS, data=form)
        assert done.status_code == 303, done.text
    shadows = (await control.admin.get(ROLLOUT)).json()["shadow"]
    assert shadows == [{"version": 2, "percent": 12.5}]
    refused = await publisher.post(SHADOWS, data={**form, "percent": "120"})
    assert refused.status_code == 422
    assert "less than or equal to 100" in refused.text
    assert refused.text.index('id="share-2"') < refused.text.index("less than or equal to 100")
    assert "Set share" not in (await auditor.get(SHADOWS)).text
    done = await publisher.post(f"{SHADOWS}/2/end", data={"csrf": token})
    assert done.status_code == 303
    assert (await control.admin.get(ROLLOUT)).json()["shadow"] == []


async def test_what_is_refused_is_told_where_it_was_pressed_and_touches_no_other_form(
    control: Control, visiting: Visiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_published(control)
    register(control, "risk", "admin", "published", 3)
    begun = {"stable": 1, "shadow": [{"version": 2}], "force": True, "reason": "other columns"}
    assert (await control.admin.put(ROLLOUT, json=begun)).is_success
    admin = await visiting("admin")
    before = (await admin.get(SHADOWS)).text
    form = {**await filled(admin, f"{SHADOWS}/2/end", SHADOWS)}
    put = Api.put

    async def overtaken_put(api: Api, path: str, body: object, kind: Any, **more: Any) -> Any:
        """Somebody else is faster, between the look at the rollout and the change."""
        monkeypatch.setattr(Api, "put", put)
        await control.admin.put(ROLLOUT, json={"shadow": [{"version": 2, "percent": 70}]})
        return await put(api, path, body, kind, **more)

    monkeypatch.setattr(Api, "put", overtaken_put)
    late = await admin.post(f"{SHADOWS}/2/end", data=form)
    assert late.status_code == 409
    told = late.text.index("Version 2 was not ended:")
    assert told < late.text.index("<table"), "it is at the top"
    assert late.text.count("somebody else has changed") == 1
    assert 'name="over"' not in late.text
    assert added(late.text) == added(before)
    assert (await control.admin.get(ROLLOUT)).json()["shadow"][0]["percent"] == 70

    share = await filled(admin, SHADOWS)
    assert share["share"] == "1"
    assert (await admin.post(f"{SHADOWS}/2/end", data=form)).status_code == 303
    late = await admin.post(SHADOWS, data={**share, "percent": "5"})
    assert (late.status_code, late.text.count("somebody else has changed")) == (409, 1)
    assert (await control.admin.get(ROLLOUT)).json()["shadow"] == []
    wrong = {**await filled(admin, SHADOWS), "version": "2", "percent": "120"}
    refused = added((await admin.post(SHADOWS, data=wrong)).text)
    assert "less than or equal to 100" in refused
    assert 'value="120"' in refused


def added(text: str) -> str:
    """The form that adds a shadow, but for the state that it is filled in under."""
    form = text[text.index('aria-label="Add a shadow"') :]
    return re.sub(r'name="(etag|was)" value="[^"]*"', "", form)


@pytest.mark.parametrize("role", ["publisher", "auditor"])
async def test_a_report_shows_flips_differences_callers_and_rows_to_whom_they_are_due(
    control: Control, visiting: Visiting, role: str
) -> None:
    await two_published(control)
    client = await visiting(role)
    if role == "publisher":
        await control.admin.put("/api/v1/models/risk/owner", json={"user": "robin-publisher"})
    control.services.disagreements.take(
        summary(
            1,
            (place(), tally(pairs={"good": {HOSTILE: 2}})),
            (place(application="desk"), tally()),
            (place(segment="young"), tally(requests=0, failures={})),
            examples=(example(1, inputs={"age": HOSTILE}),),
        )
    )
    assert "Left out" not in (await client.get(f"{SHADOWS}/1")).text
    count = MirrorCount(model="risk", version=1, compared=75, shed={"busy": 20, "budget": 5})
    control.services.mirrored.take(MirrorCounts(instance="g1", sequence=1, counts=(count,)))
    shown = await client.get(f"{SHADOWS}/1")
    assert shown.status_code == 200
    for text in (
        "Beside version 2",
        "young",
        "desk",
        "the shadow does not take the request",
        "Left out",
        "75",
        "had no time for more than the traffic",
        "too much was waiting",
    ):
        assert text in shown.text
    assert "<script>alert" not in shown.text
    assert ("Rows that differ most" in shown.text) == (role == "publisher")
    assert "&lt;script&gt;alert(1)" in shown.text
