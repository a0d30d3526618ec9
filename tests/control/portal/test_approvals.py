"""What sponsors are asked, and how they decide, in the portal."""

import re

import httpx

from tests.control.audited_models import evidence
from tests.control.portal.conftest import Visiting, token_of
from tests.control.running import Control
from tests.control.test_composition import register, report

DESK = "/portal/approvals"
ONE = "/portal/approvals/risk/1"
SPONSOR = "robin-sponsor"


async def waiting(control: Control) -> None:
    """A validated version with evidence, of a model with a sponsor."""
    number = await register(control.admin)
    await report(control, number, "ready")
    path = f"/api/v1/models/risk/versions/{number}"
    await control.admin.post(f"{path}/transitions", json={"to": "validated"})
    digest = (await control.admin.get(path)).json()["digest"]
    await control.admin.post(f"{path}/evidence", json=evidence(digest))
    await agree(control, "accuracy >= 0.9")


async def agree(control: Control, criterion: str) -> None:
    """Another version of the requirements."""
    body = {"problem": "Bad loans cost us.", "criteria": [criterion], "sponsor": SPONSOR}
    made = await control.admin.put(
        "/api/v1/models/risk/requirements", json=body, headers={"If-Match": "*"}
    )
    if made.status_code == 412:
        made = await control.admin.put("/api/v1/models/risk/requirements", json=body)
    assert made.is_success, made.text


async def decide(client: httpx.AsyncClient, decision: str, reason: str = "") -> httpx.Response:
    """Send the form as the page has it."""
    shown = (await client.get(ONE)).text
    signed = dict(re.findall(r'name="(manifest|evidence|requirements)" value="([^"]*)"', shown))
    assert len(signed) == 3, shown
    form = {"csrf": await token_of(client), "decision": decision, "reason": reason, **signed}
    return await client.post(f"{ONE}/decision", data=form)


async def test_a_sponsor_sees_what_is_asked_and_approves_what_was_shown(
    control: Control, visiting: Visiting
) -> None:
    sponsor = await visiting("sponsor")
    assert "Nothing is asked of you" in (await sponsor.get(DESK)).text
    await waiting(control)
    assert f'href="{ONE}"' in (await sponsor.get(DESK)).text
    assert (await sponsor.get(f"{DESK}/count")).text.startswith("1<")
    shown = (await sponsor.get(ONE)).text
    for text in ("Bad loans cost us.", "accuracy &gt;= 0.9", "Waits for a decision", "sha256:"):
        assert text in shown
    done = await decide(sponsor, "approve", "go")
    assert done.status_code == 303, done.text
    assert "Approved" in (await sponsor.get(ONE)).text
    desk = (await sponsor.get(DESK)).text
    assert "Nothing is asked of you" in desk
    assert "approved" in desk
    for to in ("approved", "published"):
        path = "/api/v1/models/risk/versions/1"
        await control.admin.post(f"{path}/transitions", json={"to": to})
    await agree(control, "accuracy >= 0.8")
    asked = await control.admin.post(f"{path}/approval-requests", json={"note": "once more"})
    assert asked.status_code == 202
    assert "once more" in (await sponsor.get(DESK)).text, "also of what is published"


async def test_a_refusal_needs_a_reason_and_what_voids_an_approval_is_said(
    control: Control, visiting: Visiting
) -> None:
    sponsor = await visiting("sponsor")
    await waiting(control)
    unsaid = await decide(sponsor, "refuse")
    assert unsaid.status_code == 422
    assert 'id="field-reason-error"' in unsaid.text
    assert (await decide(sponsor, "approve")).status_code == 303
    await agree(control, "accuracy >= 0.91")
    shown = (await sponsor.get(ONE)).text
    assert "it was given under requirements 1, now 2 hold" in shown
    assert "holds no longer" in (await sponsor.get(DESK)).text
    assert (await decide(sponsor, "refuse", "biased")).status_code == 303
    assert "biased" in (await sponsor.get(DESK)).text


async def test_nothing_is_signed_that_has_changed_since_it_was_shown(
    control: Control, visiting: Visiting
) -> None:
    sponsor = await visiting("sponsor")
    await waiting(control)
    form = {"csrf": await token_of(sponsor), "decision": "approve", "requirements": "1"}
    refused = await sponsor.post(f"{ONE}/decision", data=form)
    assert refused.status_code == 409
    assert "nothing was signed" in refused.text
    decisions = await control.admin.get("/api/v1/models/risk/versions/1/approvals")
    assert decisions.json()["items"] == []


async def test_publishers_ask_and_auditors_look_without_a_button(
    control: Control, visiting: Visiting
) -> None:
    sponsor, publisher, auditor = [
        await visiting(role) for role in ("sponsor", "publisher", "auditor")
    ]
    await waiting(control)
    await control.admin.put("/api/v1/models/risk/owner", json={"user": "robin-publisher"})
    form = {"csrf": await token_of(publisher), "note": "<b>please</b>"}
    asked = await publisher.post(f"{ONE}/ask", data=form)
    assert asked.status_code == 303
    assert "&lt;b&gt;please&lt;/b&gt;" in (await sponsor.get(DESK)).text
    for client in (publisher, auditor):
        shown = await client.get(ONE)
        assert shown.status_code == 200
        assert "/decision" not in shown.text
        refused = await client.post(f"{ONE}/decision", data={"csrf": await token_of(client)})
        assert refused.status_code == 403
    assert f'action="{ONE}/ask"' not in (await auditor.get(ONE)).text
