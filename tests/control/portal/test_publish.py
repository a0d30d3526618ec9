"""Publishers' pages of models and versions."""

import re

import httpx

from tests.control.portal.conftest import Visiting, filled
from tests.control.portal.publishing_world import HOSTILE, evaluate, move, risk, version
from tests.control.running import Control

RISK = "/portal/publish/models/risk"


async def publisher(control: Control, visiting: Visiting) -> httpx.AsyncClient:
    """The owner of the model ``risk``."""
    visitor = await visiting("publisher")
    await risk(control)
    return visitor


async def send(
    client: httpx.AsyncClient, path: str, page: str = RISK, **form: str
) -> httpx.Response:
    """Send a form of a page."""
    found = await filled(client, path, path, page)
    return await client.post(path, data={**found, **form})


async def test_the_list_shows_what_answers_and_what_waits(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    found = (await visitor.get("/portal/publish")).text
    assert "v1" in found
    assert "100 %" in found
    assert "r2[segment=age&lt;30] &gt;= 0.75" in found
    assert "Nothing matches" in (await visitor.get("/portal/publish?q=weather")).text
    assert "risk" in (await visitor.get("/portal/publish?q=LOANS")).text


async def test_others_see_none_of_a_publishers_models(control: Control, visiting: Visiting) -> None:
    await publisher(control, visiting)
    sponsor, consumer = await visiting("sponsor"), await visiting("consumer")
    for visitor in (sponsor, consumer):
        for path in ("/portal/publish", RISK, f"{RISK}/versions/2", f"{RISK}/rollout"):
            assert (await visitor.get(path)).status_code == 403, path


async def test_auditors_look_and_are_offered_nothing(control: Control, visiting: Visiting) -> None:
    await publisher(control, visiting)
    auditor = await visiting("auditor")
    page = await auditor.get(f"{RISK}/versions/2")
    assert page.status_code == 200
    assert "Mark as approved" not in page.text
    refused = await send(auditor, f"{RISK}/versions/2/transitions", to="rejected")
    assert refused.status_code == 403


async def test_a_model_is_made_once(control: Control, visiting: Visiting) -> None:
    visitor = await publisher(control, visiting)
    made = await send(visitor, "/portal/publish/new", name="churn", title="Churn")
    assert (made.status_code, made.headers["location"]) == (303, "/portal/publish/models/churn")
    taken = await send(visitor, "/portal/publish/new", name="churn", title="Other")
    assert taken.status_code == 412
    assert "there is a model of this name already" in taken.text
    bad = await send(visitor, "/portal/publish/new", name="Not A Name")
    assert bad.status_code == 422
    assert 'value="Not A Name"' in bad.text
    empty = await visitor.get("/portal/publish/models/churn")
    assert "No version yet" in empty.text


async def test_what_publishers_write_is_shown_and_never_run(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    for path in ("/portal/publish", RISK, f"{RISK}/versions/2", f"{RISK}/edit"):
        page = await visitor.get(path)
        assert page.status_code == 200, page.text
        assert "<script>alert" not in page.text
        assert "<b>debt</b>" not in page.text
        assert "49" not in re.sub(r"[0-9a-f]{12,}", "", page.text.split("{{7*7}}")[1][:1])


async def test_a_version_shows_evidence_gate_and_margins(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    page = (await visitor.get(f"{RISK}/versions/2")).text
    assert "1 of 2 open" in page
    assert "short by 0.05" in page
    assert "0.88 \N{EN DASH} 0.92" in page
    assert "age&lt;30" in page
    assert 'aria-label="r2 0.9, interval 0.88 to 0.92"' in page


async def test_a_step_that_the_gate_refuses_says_what_is_missing(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    path = f"{RISK}/versions/2/transitions"
    refused = await send(visitor, path, to="approved")
    assert refused.status_code == 409
    assert "version 2 cannot become approved" in refused.text
    await control.admin.put("/api/v1/models/risk/requirements", json={"criteria": ["r2 > 0.8"]})
    for state in ("approved", "published"):
        done = await send(visitor, path, to=state)
        assert done.status_code == 303, done.text
    assert "may be called" in (await visitor.get(f"{RISK}/versions/2")).text


async def test_an_alias_is_moved_and_removed(control: Control, visiting: Visiting) -> None:
    visitor = await publisher(control, visiting)
    refused = await send(visitor, f"{RISK}/versions/2/aliases", alias="candidate")
    assert refused.status_code == 409
    for _ in range(2):
        moved = await send(visitor, f"{RISK}/versions/1/aliases", alias="candidate")
        assert moved.status_code == 303, moved.text
    assert "candidate" in (await visitor.get(f"{RISK}/versions/1")).text
    gone = await send(visitor, f"{RISK}/versions/1/aliases/candidate/delete")
    assert gone.status_code == 303
    assert "candidate is removed." in (await visitor.get(RISK)).text
    assert "candidate" not in (await visitor.get(RISK)).text


async def test_what_is_said_of_a_model_is_not_written_over_another_change(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    form = {
        **await filled(visitor, f"{RISK}/edit"),
        "title": "Risk",
        "idle_unload_s": "0",
        "cold_start_wait_s": "0",
        "capture_percent": "0",
        "capture_days": "30",
    }
    bad = await send(visitor, f"{RISK}/edit", **{**form, "capture_days": "many"})
    assert bad.status_code == 422
    assert 'value="many"' in bad.text
    assert (await send(visitor, f"{RISK}/edit", **form)).status_code == 303
    stale = await send(visitor, f"{RISK}/edit", **form)
    assert stale.status_code == 412


async def test_a_page_asks_the_api_as_often_whatever_it_shows(
    control: Control, visiting: Visiting, calls: list[str]
) -> None:
    visitor = await publisher(control, visiting)
    counts = []
    for _ in range(2):
        calls.clear()
        for path in ("/portal/publish", RISK, f"{RISK}/versions/2"):
            assert (await visitor.get(path)).status_code == 200
        counts.append(len(calls))
        for _ in range(3):
            made = await version(control.admin, "risk", 3.0)
            await evaluate(control.admin, "risk", made, 0.5)
        await control.admin.put("/api/v1/models/other", json={"title": HOSTILE})
    assert counts[0] == counts[1]


async def test_where_a_version_stands_is_told_while_it_moves(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    number, _ = await version(control.admin, "risk", 5.0)
    assert "no engine yet" in (await visitor.get(f"{RISK}/versions/{number}")).text
    await move(control, "risk", number)
    page = (await visitor.get(f"{RISK}/versions/{number}")).text
    assert "an engine answers" in page
    assert f'sse-connect="{RISK}/versions/{number}/events"' in page
