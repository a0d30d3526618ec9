"""Forms about what somebody else has changed meanwhile: nothing is lost unseen, and nothing that
was typed either."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.portal.api import ApiRefusal
from control.portal.editing import ABSENT, Editing, conditions, editing, tag
from control.portal.forms import Form
from control.portal.plan_forms import LABELS, PlanForm, merged, rate_fields
from protocol.errors import Code, TollwayError
from protocol.problems import of_error
from tests.control.audited_models import two_published
from tests.control.portal.conftest import Visiting, filled, filled_of, hidden
from tests.control.portal.test_publish import RISK, publisher
from tests.control.portal.test_rollout import API as ROLLOUT
from tests.control.portal.test_rollout import PAGE, STEPS, begun, publisher_of
from tests.control.running import Control

OLD, NEW = '"old"', '"new"'
LATE = ApiRefusal(of_error(TollwayError(Code.PRECONDITION_FAILED, "If-Match does not hold")))
WRONG = ApiRefusal(of_error(TollwayError(Code.INVALID, "title: is too long")))
TEXTS = st.fixed_dictionaries({name: st.sampled_from(["", "a", "b", "a\nb"]) for name in "xyz"})


def sent(was: dict[str, str], fields: dict[str, str], **more: str) -> Form:
    """The form that was opened showing ``was``, with ``fields`` as they are now."""
    opened = editing({}, was, OLD)
    return Form([("etag", opened.etag), ("was", opened.was), *{**fields, **more}.items()])


@given(TEXTS, TEXTS, TEXTS)
def test_what_was_typed_stays_and_what_was_left_alone_is_the_present(
    was: dict[str, str], mine: dict[str, str], now: dict[str, str]
) -> None:
    typed = {name: text.replace("\n", "\r\n") for name, text in mine.items()}
    edit = editing({}, now, NEW, sent(was, typed), LATE)
    for name, shown in was.items():
        assert edit.values[name] == (now[name] if mine[name] == shown else mine[name])
    for_both = {name for name in was if was[name] != mine[name] == now[name]}
    changed = {name for name in was if was[name] != now[name]}
    assert {one.label for one in edit.changes} == changed - for_both
    for one in edit.changes:
        assert one.now == now[one.label]
        assert one.taken == (mine[one.label] == was[one.label])


def test_a_form_that_was_overtaken_stays_under_its_old_tag_until_a_box_is_ticked() -> None:
    first = sent({"x": "a"}, {"x": "b"})
    assert conditions(first) == {"if_match": OLD}
    late = editing({}, {"x": "c"}, NEW, first, LATE)
    assert (late.etag, late.fresh, late.late) == (OLD, NEW, True)
    again = Form([("etag", late.etag), ("was", late.was), ("x", "b")])
    assert conditions(again) == {"if_match": OLD}
    decided = Form([("etag", late.etag), ("was", late.was), ("x", "b"), ("over", late.fresh)])
    assert conditions(decided) == {"if_match": NEW}
    wrong = editing({}, {"x": "c"}, NEW, decided, WRONG)
    assert (wrong.etag, wrong.late, wrong.values) == (NEW, False, {"x": "b"})


def test_what_the_form_itself_took_over_counts_as_nobodys_typing_when_it_is_late_again() -> None:
    once = editing(
        {},
        {"x": "theirs", "y": "b"},
        NEW,
        sent({"x": "a", "y": "b"}, {"x": "a", "y": "mine"}),
        LATE,
    )
    assert once.values == {"x": "theirs", "y": "mine"}
    again = Form([("etag", OLD), ("was", once.was), *once.values.items()])
    back = editing({}, {"x": "a", "y": "b"}, '"newer"', again, LATE)
    assert back.values == {"x": "a", "y": "mine"}
    [change] = back.changes
    assert (change.label, change.now, change.taken) == ("x", "a", True)


def test_rates_of_a_plan_are_taken_or_kept_as_a_whole() -> None:
    def plan(*rates: tuple[str, int]) -> PlanForm:
        fields = {}
        for at, (name, requests) in enumerate(rates):
            row = (name, str(requests), "60", "")
            fields |= dict(zip(rate_fields(at), row, strict=True))
        return PlanForm(fields, ["predict"], len(rates) + 2)

    was, present = plan(("minute", 100)), plan(("second", 5), ("minute", 100))
    for typed, wanted in ((was, present), (plan(("minute", 200)), plan(("minute", 200)))):
        form = sent(was.texts, {})
        edit = editing(LABELS, present.texts, NEW, form, LATE, typed.texts)
        assert [change.label for change in edit.changes] == ["Rates"]
        shown = merged(typed, present, edit.values)
        assert (shown.texts, shown.rows) == (wanted.texts, wanted.rows)


def test_a_form_about_what_was_not_there_makes_it_and_changes_nothing() -> None:
    opened = editing({}, {"x": ""}, "")
    assert opened.etag == ABSENT
    assert conditions(Form([("etag", ABSENT)])) == {"if_none_match": "*"}


@pytest.mark.parametrize("bad", ["", "*", "x", 'W/"a"', '"a", "b"', '"a\r\nx: y"', '"\u00e4"'])
def test_a_form_without_a_tag_of_ours_matches_nothing(bad: str) -> None:
    form = Form([("etag", bad)])
    assert conditions(form) == {"if_match": '"none"'}
    assert tag(form) == '"none"'


@pytest.mark.parametrize("was", ["", "{", "[]", '{"x": 1}'])
def test_what_a_form_showed_may_be_lost(was: str) -> None:
    form = Form([("etag", OLD), ("was", was), ("x", "mine")])
    edit = editing({"x": "Ex"}, {"x": "now"}, NEW, form, LATE)
    [change] = edit.changes
    assert (change.label, change.now, change.yours) == ("Ex", "now", "mine")
    assert edit.values == {"x": "mine"}


def test_what_a_form_does_not_ask_for_stays_and_is_told() -> None:
    was, now = {"stable": "1", "canary": "none"}, {"stable": "2", "canary": "3"}
    form = sent(was, {})
    edit: Editing = editing({}, now, NEW, form, LATE, {"canary": "none"}, merges=False)
    told = {one.label: (one.now, one.yours, one.taken) for one in edit.changes}
    assert told == {"stable": ("2", "", True), "canary": ("3", "none", False)}


APP = "/portal/applications/shop"
USER = "/portal/operate/users/carl"


async def shop(control: Control) -> None:
    """An application that subscribes to a model with two versions."""
    await two_published(control)
    for path, body in (
        ("models/risk/rollout", {"stable": 1}),
        ("plans/gold", {"title": "Gold"}),
        ("plans/silver", {"title": "Silver"}),
        ("users/carl", {"role": "consumer", "title": "Carl"}),
        ("applications/shop", {"title": "Shop"}),
        ("subscriptions/shop/risk", {"plan": "gold"}),
        ("applications/shop/pins/risk", {"version": 1, "reason": "first"}),
    ):
        answer = await control.admin.put(f"/api/v1/{path}", json=body)
        assert answer.is_success, answer.text


@pytest.mark.parametrize(
    ("page", "action", "mine", "path", "change", "theirs"),
    [
        (f"{APP}/settings", f"{APP}/settings", {"title": "Mine"}, "applications/shop",
         {"title": "Theirs"}, "title"),
        (USER, USER, {"title": "Mine", "role": "consumer"}, "users/carl",
         {"title": "Theirs"}, "title"),
        ("/portal/operate/plans/gold/edit", "/portal/operate/plans/gold/edit",
         {"title": "Mine", "fail_mode": "closed", "approval": "automatic", "scopes": "predict"},
         "plans/gold", {"title": "Theirs"}, "title"),
        (f"{APP}/pins/risk", f"{APP}/pins/risk", {"version": "2", "reason": "Mine"},
         "applications/shop/pins/risk", {"version": 2, "reason": "Theirs"}, "reason"),
        (f"{APP}/subscriptions/risk", f"{APP}/subscriptions/risk", {"plan": "silver"},
         "subscriptions/shop/risk", {"plan": "free"}, "plan"),
    ],
    ids=["application", "user", "plan", "pin", "subscription"],
)  # fmt: skip
async def test_a_second_click_overwrites_nobody(
    control: Control,
    visiting: Visiting,
    page: str,
    action: str,
    mine: dict[str, str],
    path: str,
    change: dict[str, object],
    theirs: str,
) -> None:
    await shop(control)
    admin = await visiting("admin")
    form = {**await filled(admin, action, page), **mine}
    control.clock.advance(1)
    assert (await control.admin.put(f"/api/v1/{path}", json=change)).is_success
    for _ in range(2):
        late = await admin.post(action, data=form)
        assert late.status_code == 412
        assert "It has changed meanwhile" in late.text
        both = f'<td class="typed">{change[theirs]}</td><td class="typed">{mine[theirs]}</td>'
        assert both in late.text
        assert f'value="{mine[theirs]}"' in late.text
        form = {**form, **filled_of(late.text, action)}
    assert (await control.admin.get(f"/api/v1/{path}")).json()[theirs] == change[theirs]
    over = re.search(r'name="over" type="checkbox" value="([^"]+)" required', late.text)
    assert over is not None
    form["over"] = over[1].replace("&#34;", '"')
    if theirs == "reason":
        form["version"] = "1"
    done = await admin.post(action, data=form)
    assert done.status_code == 303, done.text
    assert (await control.admin.get(f"/api/v1/{path}")).json()[theirs] == mine[theirs]


async def test_what_one_person_and_another_change_of_a_model_is_kept_of_both(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    page = await visitor.get(f"{RISK}/edit")
    fields = dict(re.findall(r'name="(\w+)" type="\w+" value="([^"]*)"', page.text))
    form = {**hidden(page.text), **fields, "title": "Mine", "description": "Owned\r\nby me"}
    body = (await control.admin.get("/api/v1/models/risk")).json()
    named = {name: body[name] for name in ("title", "description", "idle_unload_s")}
    changed = {**named, "idle_unload_s": 77}
    assert (await control.admin.put("/api/v1/models/risk", json=changed)).is_success
    late = await visitor.post(f"{RISK}/edit", data=form)
    assert late.status_code == 412
    assert "not changed by you: the present value is kept" in late.text
    assert 'name="idle_unload_s" type="number" value="77"' in late.text
    assert 'value="Mine"' in late.text


async def test_a_webhook_that_fails_meanwhile_is_not_changed_by_that(
    control: Control, visiting: Visiting
) -> None:
    client = await visiting("consumer")
    token = (await filled(client, "/portal/webhooks/new"))["csrf"]
    url = "https://93.184.216.34/x"
    made = await client.post(
        "/portal/webhooks/new", data={"csrf": token, "url": url, "which": "all", "enabled": "on"}
    )
    found = re.search(r"/portal/webhooks/(whk-\w+)", made.text)
    assert found is not None
    own = f"/portal/webhooks/{found[1]}"
    form = {**await filled(client, f"{own}/edit"), "url": url, "title": "Mine", "which": "all"}
    rotate = await filled(client, f"{own}/rotate", own)

    before = (await control.admin.get(f"/api/v1/webhooks/{found[1]}")).headers["ETag"]
    with control.services.database.write() as connection:
        connection.exec_driver_sql("UPDATE webhooks SET failing_since_ms = 1")
    failing = await control.admin.get(f"/api/v1/webhooks/{found[1]}")
    assert failing.json()["failing_since"] is not None
    assert failing.headers["ETag"] == before

    control.clock.advance(1)
    body = {"events": ["key.*"], "title": "Theirs"}
    assert (await control.admin.put(f"/api/v1/webhooks/{found[1]}", json=body)).is_success
    late = await client.post(f"{own}/edit", data=form)
    assert late.status_code == 412
    assert '<td class="typed">Theirs</td><td class="typed">Mine</td>' in late.text
    assert 'value="key.created" checked' in late.text, "events were left alone"
    twice = await client.post(f"{own}/rotate", data={**rotate, "overlap_s": "0"})
    assert twice.status_code == 409
    assert "somebody else has changed the webhook" in twice.text
    assert (await control.admin.get(f"/api/v1/webhooks/{found[1]}")).json()["title"] == "Theirs"


@pytest.mark.parametrize(
    ("action", "mine"),
    [("share", {"canary.version": "2", "canary.percent": "50"}), ("stable", {"stable": "2"})],
)
async def test_traffic_that_somebody_else_has_moved_is_not_moved_over_them(
    control: Control, visiting: Visiting, action: str, mine: dict[str, str]
) -> None:
    await two_published(control)
    await control.admin.put(ROLLOUT, json={"stable": 1})
    client = await publisher_of(control, visiting)
    form = {**await filled(client, f"{PAGE}/{action}", PAGE), **mine}
    await control.admin.put(ROLLOUT, json={"canary": {"version": 2, "percent": 5}})
    for _ in range(2):
        late = await client.post(f"{PAGE}/{action}", data=form)
        assert late.status_code == 412
        assert "version 2 at 5 %" in late.text
        again = filled_of(late.text, f"{PAGE}/{action}")
        assert again["etag"] == form["etag"]
        form = {**form, **again}
    assert (await control.admin.get(ROLLOUT)).json()["canary"]["percent"] == 5
    over = re.search(r'name="over" type="checkbox" value="([^"]+)"', late.text)
    assert over is not None
    form["over"] = over[1].replace("&#34;", '"')
    assert (await client.post(f"{PAGE}/{action}", data=form)).status_code == 303
    moved = (await control.admin.get(ROLLOUT)).json()
    assert (moved["canary"] or {}).get("percent") == (50 if action == "share" else None)


async def test_the_share_of_a_shadow_and_the_end_of_a_canary_are_those_that_were_seen(
    control: Control, visiting: Visiting
) -> None:
    await two_published(control)
    await control.admin.put(ROLLOUT, json={"stable": 1, "canary": {"version": 2, "percent": 5}})
    client = await publisher_of(control, visiting)
    shadows = "/portal/publish/models/risk/shadows"
    form = {**await filled(client, shadows), "version": "2", "percent": "10"}
    end = await filled(client, f"{PAGE}/end", PAGE)
    await control.admin.put(ROLLOUT, json={"shadow": [{"version": 2, "percent": 70}]})

    late = await client.post(shadows, data=form)
    assert late.status_code == 412
    assert "version 2 at 70 %" in late.text
    ended = await client.post(f"{PAGE}/end", data=end)
    assert ended.status_code == 409
    assert "somebody else has changed the rollout" in ended.text
    held = (await control.admin.get(ROLLOUT)).json()
    assert (held["shadow"][0]["percent"], held["canary"]["percent"]) == (70, 5)
    end = await filled(client, f"{PAGE}/end", PAGE)
    assert (await client.post(f"{PAGE}/end", data=end)).status_code == 303


async def test_two_people_who_advance_a_canary_take_one_step(
    control: Control, visiting: Visiting
) -> None:
    await begun(control)
    client = await publisher_of(control, visiting)
    form = await filled(client, f"{PAGE}/canary/advance", PAGE)
    for status in (303, 409):
        done = await client.post(f"{PAGE}/canary/advance", data=form)
        assert done.status_code == status, done.text
    guarded = (await control.admin.get(ROLLOUT)).json()["guarded"]
    assert guarded["step"] == 2, (guarded, STEPS)


async def test_a_pin_that_was_moved_is_not_removed(control: Control, visiting: Visiting) -> None:
    await shop(control)
    admin = await visiting("admin")
    form = await filled(admin, f"{APP}/pins/risk/remove", f"{APP}/pins/risk")
    control.clock.advance(1)
    path = "/api/v1/applications/shop/pins/risk"
    await control.admin.put(path, json={"version": 2})
    kept = await admin.post(f"{APP}/pins/risk/remove", data=form)
    assert kept.status_code == 409
    assert "somebody else has changed the pin" in kept.text
    assert (await control.admin.get(path)).json()["version"] == 2


async def test_a_subscription_that_was_moved_is_not_cancelled(
    control: Control, visiting: Visiting
) -> None:
    await shop(control)
    admin = await visiting("admin")
    own, path = f"{APP}/subscriptions/risk", "/api/v1/subscriptions/shop/risk"
    form = await filled(admin, f"{own}/cancel", own)
    control.clock.advance(1)
    await control.admin.put(path, json={"plan": "silver"})
    kept = await admin.post(f"{own}/cancel", data=form)
    assert kept.status_code == 409
    assert "somebody else has changed the subscription" in kept.text
    assert (await control.admin.get(path)).json()["plan"] == "silver"


async def test_the_short_way_to_a_key_replaces_no_plan_that_it_has_not_shown(
    control: Control, visiting: Visiting
) -> None:
    await shop(control)
    admin = await visiting("admin")
    path = "/api/v1/subscriptions/shop/risk"
    asked = await admin.get("/portal/subscribe?model=risk")
    form = {**filled_of(asked.text, "/portal/subscribe"), "application": "shop", "plan": "silver"}
    await control.admin.put(path, json={"plan": "free"})
    late = await admin.post("/portal/subscribe", data=form)
    assert late.status_code == 409
    assert "shop has risk under free by now: nothing was changed" in late.text
    assert (await control.admin.get(path)).json()["plan"] == "free"
    form |= filled_of(late.text, "/portal/subscribe")
    assert (await admin.post("/portal/subscribe", data=form)).status_code == 200
    assert (await control.admin.get(path)).json()["plan"] == "silver"


async def test_an_alias_that_was_moved_stays_until_a_box_is_ticked(
    control: Control, visiting: Visiting
) -> None:
    await two_published(control)
    client = await publisher_of(control, visiting)
    page, path = f"{RISK}/versions/2", "/api/v1/models/risk/aliases/candidate"
    new = {"If-None-Match": "*"}
    opened = await filled(client, f"{page}/aliases", page)
    await control.admin.put(path, json={"version": 1}, headers=new)
    assert "At other versions" in (await client.get(page)).text
    form = {**opened, "alias": "candidate", "reason": "mine"}
    for _ in range(2):
        late = await client.post(f"{page}/aliases", data=form)
        assert late.status_code == 412
        row = re.search(r"Alias candidate.*?</tr>", late.text)
        assert row is not None
        assert ("version 1" in row[0], "version 2" in row[0]) == (True, True)
        assert 'value="mine"' in late.text
        form |= filled_of(late.text, f"{page}/aliases")
    assert (await control.admin.get(path)).json()["version"] == 1
    over = re.search(r'name="over" type="checkbox" value="([^"]+)"', late.text)
    assert over is not None
    form["over"] = over[1].replace("&#34;", '"')
    assert (await client.post(f"{page}/aliases", data=form)).status_code == 303
    assert (await control.admin.get(path)).json()["version"] == 2
    again = await client.post(f"{page}/aliases", data={**opened, "alias": "candidate"})
    assert again.status_code == 303, "it points there already"
    wrong = await client.post(f"{page}/aliases", data={**opened, "alias": "a/../b"})
    assert wrong.status_code == 422
    assert "field-alias-error" in wrong.text


def test_a_state_is_kept_as_json() -> None:
    assert msgspec.json.decode(editing({}, {"x": '"<b>'}, OLD).was) == {"x": '"<b>'}
