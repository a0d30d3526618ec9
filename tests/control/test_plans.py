"""Plans over the management API, and as gateways hear of them."""

import json

import msgspec
import pytest
import sqlalchemy as sa

from control.plans import BUILT_IN, PlanRequest, plan_document
from control.services import build
from protocol.configuration import PlanDoc, QuotaDoc, RateDoc
from registry.store.audit import audit
from registry.store.changes import changes
from tests.control.running import Control
from tests.control.test_management import add_model

GOLD = {
    "title": "Gold",
    "description": "For those who need much.",
    "rates": [
        {"name": "second", "requests": 10, "window_s": 1, "burst": 5},
        {"name": "hour", "requests": 1000, "window_s": 3600},
    ],
    "quota": {"limit": 5000, "unit": "rows", "period": "day"},
    "concurrency": 4,
    "max_body_bytes": 4096,
    "max_rows": 100,
    "deadline_ms": 250,
    "scopes": ["explain", "predict"],
    "fail_mode": "open",
    "price_per_thousand": {"amount": "0.50", "currency": "EUR"},
    "approval": "publisher",
}


def published(control: Control, name: str) -> list[PlanDoc | None]:
    """Every document of the plan on the stream, in order."""
    return [
        msgspec.json.decode(one.doc, type=PlanDoc | None)
        for one in control.services.stream.rows(0, 1000)
        if (one.kind, one.key) == ("plan", name)
    ]


def recorded(control: Control, key: str) -> list[tuple[str, str | None, str | None]]:
    """(action, before, after) of everything that happened to the plan."""
    query = sa.select(audit).where(audit.c.kind == "plan", audit.c.key == key)
    with control.services.database.read() as connection:
        rows = connection.execute(query.order_by(audit.c.seq)).all()
    return [(row.action, row.before, row.after) for row in rows]


async def test_three_plans_are_built_in_and_published(control: Control) -> None:
    plans = (await control.admin.get("/api/v1/plans")).json()["items"]

    assert [plan["name"] for plan in plans] == ["free", "standard", "unlimited"]
    assert all(plan["built_in"] for plan in plans)
    for name, request in BUILT_IN.items():
        assert published(control, name) == [plan_document(name, request)]
    assert published(control, "unlimited") == [PlanDoc(name="unlimited")]


async def test_a_plan_comes_back_as_it_was_put_and_is_published(control: Control) -> None:
    made = await control.admin.put("/api/v1/plans/gold", json=GOLD)
    shown = await control.admin.get("/api/v1/plans/gold")

    assert made.status_code == 201
    assert shown.json() == made.json()
    assert shown.headers["ETag"] == made.headers["ETag"]
    wanted = {**GOLD, "scopes": ["predict", "explain"], "name": "gold", "built_in": False}
    wanted["rates"] = [GOLD["rates"][0], {**GOLD["rates"][1], "burst": None}]  # type: ignore[index]
    assert {k: v for k, v in made.json().items() if not k.endswith("_at")} == wanted
    assert published(control, "gold") == [
        PlanDoc(
            name="gold",
            rates=(
                RateDoc(name="second", requests=10, window_s=1, burst=5),
                RateDoc(name="hour", requests=1000, window_s=3600),
            ),
            quota=QuotaDoc(limit=5000, unit="rows", period="day"),
            concurrency=4,
            max_body_bytes=4096,
            max_rows=100,
            deadline_ms=250,
            scopes=("predict", "explain"),
            fail_open=True,
        )
    ]


async def test_putting_the_same_plan_again_changes_nothing(control: Control) -> None:
    first = await control.admin.put("/api/v1/plans/gold", json=GOLD)
    control.clock.advance(5)
    again = await control.admin.put("/api/v1/plans/gold", json=GOLD)

    assert again.status_code == 200
    assert again.json() == first.json()
    assert len(published(control, "gold")) == 1
    assert [action for action, _, _ in recorded(control, "gold")] == ["plan.created"]


async def test_a_change_replaces_the_plan_whole_and_is_recorded(control: Control) -> None:
    await control.admin.put("/api/v1/plans/gold", json=GOLD)
    control.clock.advance(5)
    changed = await control.admin.put("/api/v1/plans/gold", json={"concurrency": 9})

    assert changed.status_code == 200
    assert changed.json()["quota"] is None
    assert changed.json()["price_per_thousand"] is None
    assert published(control, "gold")[-1] == PlanDoc(name="gold", concurrency=9)
    action, before, after = recorded(control, "gold")[-1]
    assert action == "plan.changed"
    assert json.loads(before or "")["concurrency"] == 4
    assert json.loads(after or "") == changed.json()


async def test_a_price_is_no_news_to_gateways(control: Control) -> None:
    await control.admin.put("/api/v1/plans/gold", json=GOLD)
    dearer = {**GOLD, "price_per_thousand": {"amount": "0.75", "currency": "EUR"}}
    await control.admin.put("/api/v1/plans/gold", json=dearer)

    assert len(published(control, "gold")) == 1
    assert len(recorded(control, "gold")) == 2


async def test_a_plan_is_only_changed_as_it_was_seen(control: Control) -> None:
    made = await control.admin.put("/api/v1/plans/gold", json=GOLD)
    seen = {"If-Match": made.headers["ETag"]}
    first = await control.admin.put("/api/v1/plans/gold", json={"title": "A"}, headers=seen)
    second = await control.admin.put("/api/v1/plans/gold", json={"title": "B"}, headers=seen)
    gone = await control.admin.delete("/api/v1/plans/gold", headers=seen)
    new = await control.admin.put("/api/v1/plans/gold", json={}, headers={"If-None-Match": "*"})

    assert [a.status_code for a in (first, second, gone, new)] == [200, 412, 412, 412]


async def test_a_plan_in_use_cannot_be_deleted(control: Control) -> None:
    await control.admin.put("/api/v1/plans/gold", json={})
    await control.admin.put("/api/v1/applications/shop")
    for model in ("risk", "fraud"):
        add_model(control, model)
        path = f"/api/v1/subscriptions/shop/{model}"
        assert (await control.admin.put(path, json={"plan": "gold"})).status_code == 201
    two = await control.admin.delete("/api/v1/plans/gold")
    await control.admin.delete("/api/v1/subscriptions/shop/risk")
    one = await control.admin.delete("/api/v1/plans/gold")
    await control.admin.delete("/api/v1/subscriptions/shop/fraud")
    none = await control.admin.delete("/api/v1/plans/gold")

    assert [two.status_code, one.status_code, none.status_code] == [409, 409, 204]
    assert "2 subscriptions use" in two.json()["detail"]
    assert "1 subscription uses" in one.json()["detail"]
    assert (await control.admin.get("/api/v1/plans/gold")).status_code == 404
    assert published(control, "gold")[-1] is None
    assert recorded(control, "gold")[-1][0] == "plan.deleted"


async def test_a_built_in_plan_can_be_changed_but_not_deleted(control: Control) -> None:
    changed = await control.admin.put("/api/v1/plans/free", json={"concurrency": 7})
    deleted = await control.admin.delete("/api/v1/plans/free")

    assert changed.json()["concurrency"] == 7
    assert deleted.status_code == 409
    assert "built in" in deleted.json()["detail"]


async def test_a_start_does_not_undo_an_operators_change(control: Control) -> None:
    await control.admin.put("/api/v1/plans/free", json={"concurrency": 7})
    again = build(control.settings, control.clock)

    assert again.plans.get("free").concurrency == 7
    again.database.close()
    assert published(control, "free")[-1] == PlanDoc(name="free", concurrency=7)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"rates": [{"name": "s", "requests": 0, "window_s": 1}]}, "requests"),
        ({"rates": [{"name": "s", "requests": 1, "window_s": 0}]}, "window_s"),
        ({"rates": [{"name": "S s", "requests": 1, "window_s": 1}]}, "name"),
        ({"rates": [{"name": "s", "requests": 1, "window_s": 1, "burst": 2}]}, "burst 2 is more"),
        ({"rates": [{"name": "quota", "requests": 1, "window_s": 1}]}, "taken by another"),
        ({"rates": [{"name": "s", "requests": 1, "window_s": 1}] * 2}, "unique: s"),
        ({"rates": [{"name": f"s{n}", "requests": 1, "window_s": 1} for n in range(9)]}, "rates"),
        ({"rates": [{"name": "s", "requests": True, "window_s": 1.5}]}, "window_s"),
        ({"quota": {"limit": 0}}, "limit"),
        ({"quota": {"limit": 10**16}}, "limit"),
        ({"quota": {"limit": 1, "unit": "bytes"}}, "unit"),
        ({"quota": {"limit": 1, "period": "week"}}, "period"),
        ({"concurrency": 0}, "concurrency"),
        ({"max_body_bytes": -1}, "max_body_bytes"),
        ({"max_rows": 0}, "max_rows"),
        ({"deadline_ms": 0}, "deadline_ms"),
        ({"deadline_ms": 0.5}, "deadline_ms"),
        ({"deadline_ms": 86_400_001}, "deadline_ms"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"fail_mode": "maybe"}, "fail_mode"),
        ({"approval": "nobody"}, "approval"),
        ({"price_per_thousand": {"amount": 0.5, "currency": "EUR"}}, "amount"),
        ({"price_per_thousand": {"amount": "1e3", "currency": "EUR"}}, "amount"),
        ({"price_per_thousand": {"amount": "-1", "currency": "EUR"}}, "amount"),
        ({"price_per_thousand": {"amount": "NaN", "currency": "EUR"}}, "amount"),
        ({"price_per_thousand": {"amount": "1", "currency": "euro"}}, "currency"),
        ({"rate": []}, "rate"),
        ({"title": "a\0b"}, "title"),
    ],
)
async def test_a_plan_that_makes_no_sense_is_refused_by_the_field(
    control: Control, body: dict[str, object], named: str
) -> None:
    refused = await control.admin.put("/api/v1/plans/gold", json=body)

    assert refused.status_code == 422, refused.text
    assert named in refused.text
    assert (await control.admin.get("/api/v1/plans/gold")).status_code == 404


async def test_plans_come_in_pages(control: Control) -> None:
    first = (await control.admin.get("/api/v1/plans", params={"limit": 2})).json()
    rest = (await control.admin.get("/api/v1/plans", params={"after": first["next"]})).json()

    assert [plan["name"] for plan in first["items"]] == ["free", "standard"]
    assert [plan["name"] for plan in rest["items"]] == ["unlimited"]
    assert rest["next"] is None


async def test_what_a_plan_commits_is_all_or_nothing(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_kwargs: object) -> int:
        raise RuntimeError("the audit log is full")

    with control.services.database.read() as connection:
        head = connection.execute(sa.select(sa.func.max(changes.c.seq))).scalar_one()
    monkeypatch.setattr("registry.store.audit.record", broken)
    with pytest.raises(RuntimeError):
        control.services.plans.put("gold", PlanRequest())
    monkeypatch.undo()

    assert control.services.stream.head() == head
    assert (await control.admin.get("/api/v1/plans/gold")).status_code == 404


def test_the_built_in_plans_survive_their_own_json() -> None:
    for request in BUILT_IN.values():
        assert PlanRequest.model_validate_json(request.model_dump_json()) == request
