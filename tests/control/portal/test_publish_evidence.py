"""Every evaluation of a version can be reached from its page, and a new one is warned of."""

import html
import re

from control.portal.routes_versions import MAX_EVALUATIONS
from tests.control.portal.conftest import Visiting
from tests.control.portal.publishing_world import move
from tests.control.portal.test_publish import RISK, publisher
from tests.control.running import Control

HEBREW = "\u05e9\u05dc\u05d5\u05dd"


async def keep(control: Control, rows_name: str, rows: int) -> str:
    """Keep an evaluation of version 2; its digest."""
    at = "/api/v1/models/risk/versions/2"
    made = (await control.admin.get(at)).json()
    body = {
        "manifest_digest": made["digest"],
        "rows": rows,
        "rows_name": rows_name,
        "rows_digest": "sha256:" + f"{rows:064x}",
        "main_metric": "r2",
        "metrics": {"r2": {"value": 0.9}},
    }
    kept = await control.admin.post(f"{at}/evidence", json=body)
    assert kept.status_code == 201, kept.text
    return str(kept.json()["digest"])


async def test_every_evaluation_is_offered_on_one_page_or_an_older_one(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    first = await keep(control, "holdout", 7)
    for rows in range(MAX_EVALUATIONS):
        await keep(control, HEBREW, 100 + rows)
    page = (await visitor.get(f"{RISK}/versions/2")).text
    assert "holdout, 7 rows" not in page
    assert f"\u2068{HEBREW}\u2069, 109 rows" in page
    [link] = re.findall(r'href="([^"]*older=[^"]*)"', page)
    older = (await visitor.get(html.unescape(link))).text
    assert "holdout, 7 rows" in older
    assert "Newest evaluations" in older
    assert "Older evaluations" not in older
    named = (await visitor.get(f"{RISK}/versions/2?evidence={first}")).text
    assert f'<option value="{first}" selected>' in named
    for unknown in ("sha256:" + "0" * 64, "nothing"):
        found = await visitor.get(f"{RISK}/versions/2?evidence={unknown}")
        assert found.status_code == 200
        assert "109 rows" in found.text


async def test_the_form_warns_that_new_evidence_ends_an_approval(
    control: Control, visiting: Visiting
) -> None:
    sponsor = await visiting("sponsor")
    visitor = await publisher(control, visiting)
    form = f"{RISK}/versions/2/evaluate"
    agreed = {"criteria": ["r2 >= 0.85"], "sponsor": "robin-sponsor"}
    await control.admin.put("/api/v1/models/risk/requirements", json=agreed)
    assert "The approval ends." not in (await visitor.get(form)).text
    page = (await sponsor.get("/portal/approvals/risk/2")).text
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    given = await sponsor.post(
        "/portal/approvals/risk/2/decision", data={**fields, "decision": "approve", "reason": ""}
    )
    assert given.status_code == 303, given.text
    assert "Its next step waits for that." in (await visitor.get(form)).text
    await move(control, "risk", 2, "approved", "published")
    assert "cannot become canary or stable" in (await visitor.get(form)).text
    wish = {"canary": {"version": 2, "percent": 5}}
    done = await control.admin.put("/api/v1/models/risk/rollout", json={"stable": 1, **wish})
    assert done.is_success, done.text
    assert "it keeps its 5 % of the calls" in (await visitor.get(form)).text
    await keep(control, "spring", 7)
    more = {"canary": {"version": 2, "percent": 10}}
    refused = await control.admin.put("/api/v1/models/risk/rollout", json={"stable": 1, **more})
    assert refused.status_code == 409, "what the form says of a canary"
    assert "The approval ends." not in (await visitor.get(form)).text
