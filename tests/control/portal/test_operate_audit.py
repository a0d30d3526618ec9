"""The pages of the audit log."""

import asyncio
import json

import pytest
import sqlalchemy as sa

from control.portal.audit_difference import difference
from registry.store import audit_read
from tests.control.portal.conftest import Visiting, token_of
from tests.control.running import Control

PATH = "/portal/operate/audit"


async def changed(control: Control) -> int:
    """A plan that is made and changed; the number of the entry that says so."""
    await control.admin.put("/api/v1/plans/gold", json={"title": "<b>Gold</b>"})
    reason = {"Tollway-Reason": "it was too cheap"}
    await control.admin.put("/api/v1/plans/gold", json={"title": "Dear"}, headers=reason)
    page = await control.admin.get("/api/v1/audit?kind=plan&key=gold&limit=1")
    number: int = page.json()["items"][0]["seq"]
    return number


async def test_entries_are_found_by_any_text_in_them(control: Control, visiting: Visiting) -> None:
    admin = await visiting("admin")
    seq = await changed(control)
    for query in (
        "q=TOO+CHEAP",
        "q=Gold%3C%2Fb",
        "kind=plan&key=gold",
        "actor=admin&action=plan.changed",
    ):
        text = (await admin.get(f"{PATH}?{query}")).text
        assert f"{PATH}/entries/{seq}" in text, query
    assert "No entry matches" in (await admin.get(f"{PATH}?q=never+said")).text
    assert "No entry matches" in (await admin.get(f"{PATH}?q=%25%25")).text
    assert 'role="alert"' in (await admin.get(f"{PATH}?from=yesterday")).text


async def test_a_search_goes_on_before_what_one_page_looks_at(
    control: Control, visiting: Visiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await visiting("admin")
    seq = await changed(control)
    for number in range(4):
        await control.admin.put(f"/api/v1/consumers/c-{number}")
    monkeypatch.setattr(audit_read, "SEARCH_ENTRIES", 2)
    page = (await control.admin.get("/api/v1/audit?search=too+cheap")).json()
    assert page["items"] == []
    assert page["next"] is not None
    assert "Search earlier entries" in (await admin.get(f"{PATH}?q=too+cheap")).text
    seen: list[int] = []
    while page["next"] is not None:
        query = {"search": "too cheap", "after": page["next"]}
        page = (await control.admin.get("/api/v1/audit", params=query)).json()
        seen += [one["seq"] for one in page["items"]]
    assert seen == [seq]


async def test_an_entry_shows_what_changed_and_escapes_it(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    seq = await changed(control)
    text = (await admin.get(f"{PATH}/entries/{seq}")).text

    assert '<del class="gone">&lt;b&gt;Gold&lt;/b&gt;</del>' in text
    assert '<ins class="come">Dear</ins>' in text
    assert "it was too cheap" in text
    assert (await admin.get(f"{PATH}/entries/999999")).status_code == 404


def test_a_difference_names_places_and_keeps_what_stayed_apart() -> None:
    found = difference(
        {"a": 1, "rates": [{"n": 1}, {"n": 2}], "gone": []},
        {"a": 1, "rates": [{"n": 3}], "new": None},
    )
    told = {line.place: (line.change, line.before, line.after) for line in found.changed}
    assert told == {
        "rates.0.n": ("changed", "1", "3"),
        "rates.1.n": ("removed", "2", ""),
        "gone": ("removed", "[]", ""),
        "new": ("added", "", "null"),
    }
    assert [line.place for line in found.same] == ["a"]
    assert difference(None, None).changed == []
    assert difference({}, {str(n): n for n in range(999)}).further == 599


async def ended(control: Control) -> dict[str, object]:
    for _ in range(200):
        found: dict[str, object] = (await control.admin.get("/api/v1/audit/verify")).json()
        if found["running"] is None and found["ok"] is not None:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("the verification does not end")


async def test_the_button_verifies_the_chain_and_says_up_to_where(
    control: Control, visiting: Visiting
) -> None:
    auditor = await visiting("auditor")
    await changed(control)
    token = await token_of(auditor)
    begun = await auditor.post(f"{PATH}/verify", data={"csrf": token})
    assert begun.status_code == 200
    assert 'id="standing"' in begun.text
    found = await ended(control)

    text = (await auditor.get(f"{PATH}/verify")).text
    assert f"Intact up to entry <strong>{found['verified_entries']}</strong>" in text


async def test_the_page_says_where_the_chain_breaks(control: Control, visiting: Visiting) -> None:
    admin = await visiting("admin")
    seq = await changed(control)
    with control.services.database.write() as connection:
        for (name,) in connection.execute(
            sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        ).all():
            connection.execute(sa.text(f"DROP TRIGGER {name}"))
        connection.execute(sa.text("UPDATE audit SET actor = 'eve' WHERE seq = :seq"), {"seq": seq})
    control.services.audit.verify()

    text = (await admin.get(PATH)).text
    assert f"The chain breaks at entry <strong>{seq}</strong>" in text


async def test_only_one_verification_runs_at_a_time(control: Control) -> None:
    assert control.services.audit.begin()
    again = await control.admin.post("/api/v1/audit/verify")
    assert again.status_code == 409
    running = (await control.admin.get("/api/v1/audit/verify")).json()["running"]
    assert running["checked"] == 0
    assert running["entries"] > 0
    control.services.audit.verify()
    assert (await control.admin.get("/api/v1/audit/verify")).json()["running"] is None


async def test_what_was_searched_for_is_downloaded(control: Control, visiting: Visiting) -> None:
    admin = await visiting("admin")
    await changed(control)
    answer = await admin.get(f"{PATH}/export?format=jsonl&q=too+cheap")
    lines = [json.loads(line) for line in answer.text.splitlines()]

    assert answer.headers["content-disposition"] == 'attachment; filename="audit.jsonl"'
    assert len(lines) == 1
    assert "too cheap" in answer.text
    assert (await admin.get(f"{PATH}/export?format=xml")).status_code == 422
