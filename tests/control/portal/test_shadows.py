"""A model's shadows in the portal."""

import pytest

from protocol.shadowing import MirrorCount, MirrorCounts
from tests.control.audited_models import two_published
from tests.control.portal.conftest import Visiting, filled, token_of
from tests.control.running import Control
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
    assert "Set share" not in (await auditor.get(SHADOWS)).text
    done = await publisher.post(f"{SHADOWS}/2/end", data={"csrf": token})
    assert done.status_code == 303
    assert (await control.admin.get(ROLLOUT)).json()["shadow"] == []


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
