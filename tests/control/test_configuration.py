"""Declarative configuration: whole or not at all, idempotent, and a diff after it is empty."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.configuration import Configuration
from protocol.errors import Code, TollwayError
from protocol.manifest import sha256_digest
from registry.access import INSTALLATION, Actor
from registry.store.audit import audit
from registry.store.database import metadata
from tests.control.audited_models import published
from tests.control.running import Control
from tests.control.test_composition import MODEL, report

PATH = "/api/v1/configuration"
WHOLE: dict[str, Any] = {
    "plans": {
        "gold": {"title": "Gold", "quota": {"limit": 1000}, "rates": [
            {"name": "burst", "requests": 10, "window_s": 1}]},
    },
    "consumers": {"acme": {"title": "Acme"}},
    "applications": {"web-shop": {"consumer": "acme", "origins": ["https://shop.example"]}},
    "models": {"risk": {"title": "Risk", "aliases": {"stable": 1}, "idle_unload_s": 600}},
    "subscriptions": {"web-shop": {"risk": "gold"}},
}  # fmt: skip


async def put(control: Control, body: object, **query: object) -> Any:
    answer = await control.admin.put(PATH, json=body, params={k: str(v) for k, v in query.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


def state(control: Control) -> dict[str, list[object]]:
    """Everything stored."""
    with control.services.database.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(sa.select(table)).all()))
            for table in metadata.sorted_tables
            if not table.name.startswith(("webhook", "session", "failed", "usage"))
        }


def changed(result: Any) -> set[tuple[str, str, str]]:
    return {(one["kind"], one["key"], one["action"]) for one in result["changes"]}


CREATED = {
    ("plan", "gold", "create"),
    ("consumer", "acme", "create"),
    ("application", "web-shop", "create"),
    ("model", "risk", "update"),
    ("alias", "risk/stable", "create"),
    ("subscription", "web-shop/risk", "create"),
}


async def test_a_whole_configuration_is_applied_and_a_diff_after_it_is_empty(
    control: Control,
) -> None:
    await published(control)

    foretold = await put(control, WHOLE, dry_run=True)
    made = await put(control, WHOLE)

    assert changed(made) == CREATED
    assert foretold["changes"] == made["changes"]
    assert (foretold["applied"], made["applied"]) == (False, True)
    assert (await put(control, WHOLE, dry_run=True))["changes"] == []
    before = state(control)
    assert (await put(control, WHOLE))["changes"] == []
    assert state(control) == before
    shown = (await control.admin.get("/api/v1/subscriptions/web-shop/risk")).json()
    assert (shown["plan"], shown["state"]) == ("gold", "active")


async def test_a_dry_run_writes_nothing(control: Control) -> None:
    await published(control)
    before = state(control)

    await put(control, WHOLE, dry_run=True, prune=True)

    assert state(control) == before


async def test_what_is_exported_makes_no_difference_also_when_pruned(control: Control) -> None:
    await published(control)
    await put(control, WHOLE)

    exported = (await control.admin.get(PATH)).json()

    assert exported["subscriptions"] == {"web-shop": {"risk": "gold"}}
    assert exported["models"]["risk"]["aliases"] == {"stable": 1}
    assert {"free", "standard", "unlimited", "gold"} == set(exported["plans"])
    assert (await put(control, exported, prune=True))["changes"] == []


async def test_an_exported_configuration_makes_an_emptied_one_whole_again(
    control: Control,
) -> None:
    await published(control)
    await put(control, WHOLE)
    exported = (await control.admin.get(PATH)).json()
    empty = {"subscriptions": {}, "applications": {}, "consumers": {}, "plans": {}}

    gone = await put(control, empty, prune=True)
    await put(control, exported)

    assert {one["action"] for one in gone["changes"]} == {"delete"}
    assert (await control.admin.get(PATH)).json() == exported


@pytest.mark.parametrize(
    ("section", "name", "wrong", "status"),
    [
        ("subscriptions", "web-shop", {"nothing": "gold"}, 404),
        ("subscriptions", "nobody", {"risk": "gold"}, 404),
        ("subscriptions", "web-shop", {"risk": "platinum"}, 422),
        ("models", "risk", {"aliases": {"stable": 99}}, 404),
        ("applications", "zz", {"consumer": "nobody"}, 404),
        ("consumers", "NOT-A-NAME", {}, 422),
        ("plans", "zz", {"quota": {"limit": 0}}, 422),
        ("plans", "zz", {"qouta": {"limit": 1}}, 422),
    ],
)
async def test_one_bad_item_anywhere_and_nothing_changes(
    control: Control, section: str, name: str, wrong: object, status: int
) -> None:
    await published(control)
    bad = {**WHOLE, section: {**WHOLE[section], name: wrong}}
    before = state(control)

    answer = await control.admin.put(PATH, json=bad)

    assert answer.status_code == status, answer.text
    assert f"{section}.{name}" in answer.json()["detail"]
    assert state(control) == before


async def test_the_order_of_sections_and_items_makes_no_difference(control: Control) -> None:
    await published(control)

    turned = {section: dict(reversed(WHOLE[section].items())) for section in reversed(WHOLE)}

    assert changed(await put(control, turned)) == CREATED


async def test_every_change_is_audited_for_itself_under_one_reason(control: Control) -> None:
    await published(control)

    await put(control, WHOLE)
    await put(control, {"consumers": {"acme": {"title": "New"}}}, reason="ticket 7")

    query = sa.select(audit.c.action, audit.c.reason).order_by(audit.c.seq.desc()).limit(7)
    with control.services.database.read() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    assert rows[0] == ("consumer.changed", "ticket 7")
    assert {row[1] for row in rows[1:]} == {"apply"}
    assert {row[0] for row in rows[1:]} == {
        "plan.created", "consumer.created", "application.created", "model.changed",
        "alias.created", "subscription.created",
    }  # fmt: skip


async def test_pruning_deletes_what_the_sections_sent_do_not_name_and_nothing_else(
    control: Control,
) -> None:
    await published(control)
    await put(control, WHOLE)
    await put(control, {"plans": {"silver": {}}, "consumers": {"other": {}}})

    kept = await put(control, {"plans": {"gold": WHOLE["plans"]["gold"]}})
    pruned = await put(control, {"plans": {"gold": WHOLE["plans"]["gold"]}}, prune=True)

    assert kept["changes"] == []
    assert changed(pruned) == {("plan", "silver", "delete")}
    assert (await control.admin.get("/api/v1/consumers/other")).status_code == 200


async def test_pruning_removes_the_aliases_that_a_named_model_does_not_name(
    control: Control,
) -> None:
    await published(control)
    await put(control, {"models": {"risk": {"aliases": {"stable": 1, "next": 1}}}})

    untouched = await put(control, {"models": {"risk": {}}}, prune=True)
    pruned = await put(control, {"models": {"risk": {"aliases": {"stable": 1}}}}, prune=True)

    assert untouched["changes"] == []
    assert changed(pruned) == {("alias", "risk/next", "delete")}


async def test_what_is_in_use_is_not_pruned_and_then_nothing_is(control: Control) -> None:
    await published(control)
    await put(control, WHOLE)
    await control.admin.post("/api/v1/keys", json={"application": "web-shop"})
    before = state(control)

    for body, reason in (
        ({"plans": {}}, "subscription uses plan 'gold'"),
        ({"consumers": {}}, "still has 1 application"),
        ({"applications": {}, "subscriptions": {}}, "still has 1 key"),
        ({"applications": {}}, "still has"),
    ):
        answer = await control.admin.put(PATH, json=body, params={"prune": "true"})
        assert answer.status_code == 409
        assert reason in answer.json()["detail"]
        assert state(control) == before


async def test_a_request_that_waits_for_a_decision_is_left_alone(control: Control) -> None:
    await published(control)
    await put(control, {**WHOLE, "plans": {"gold": {}, "pro": {"approval": "publisher"}}})
    theirs = Actor("eve", "consumer", "acme", frozenset())
    from control.reach import reach_of

    reach = reach_of(theirs)
    control.services.subscriptions.put("web-shop", "risk", "pro", reach=reach)

    exported = (await control.admin.get(PATH)).json()

    assert (await put(control, exported, prune=True))["changes"] == []
    shown = (await control.admin.get("/api/v1/subscriptions/web-shop/risk")).json()
    assert (shown["plan"], shown["requested_plan"]) == ("gold", "pro")


def refused(control: Control, wanted: object, actor: Actor, **more: bool) -> Code:
    with pytest.raises(TollwayError) as error:
        control.services.configurations.apply(Configuration.model_validate(wanted), actor, **more)
    return error.value.code


async def test_publishers_change_what_they_reach_and_learn_nothing_of_the_rest(
    control: Control,
) -> None:
    await published(control)
    await put(control, WHOLE)
    pub = Actor("pub", "publisher", "team", frozenset({"other"}))
    owner = Actor("own", "publisher", "team", frozenset({"risk"}))

    assert refused(control, {"plans": {}}, pub) is Code.FORBIDDEN
    assert refused(control, {"models": {"risk": {"title": "x"}}}, pub) is Code.MODEL_NOT_FOUND
    assert refused(control, {"consumers": {"acme": {}}}, pub) is Code.NOT_FOUND
    assert refused(control, {"applications": {"web-shop": {}}}, pub) is Code.NOT_FOUND
    assert (
        refused(control, {"subscriptions": {"web-shop": {"risk": "free"}}}, pub) is Code.NOT_FOUND
    )
    apply, export = control.services.configurations.apply, control.services.configurations.export
    mine = Configuration.model_validate({"models": {"risk": {"title": "Mine"}}})
    assert [one.key for one in apply(mine, owner).changes] == ["risk"]
    empty = Configuration.model_validate({"applications": {}, "consumers": {}, "subscriptions": {}})
    assert apply(empty, pub, prune=True).changes == []
    seen = export(pub)
    assert (seen.plans, seen.consumers, seen.applications) == (None, {}, {})
    assert (seen.models, seen.subscriptions) == ({}, {})
    assert export(owner).subscriptions == {"web-shop": {"risk": "gold"}}


async def test_auditors_read_and_compare_and_other_roles_do_neither(control: Control) -> None:
    from tests.control.test_authorisation import token

    for role, status in (("auditor", 200), ("consumer", 403), ("sponsor", 403)):
        async with await token(control, role) as client:
            compared = await client.put(PATH, json={}, params={"dry_run": True})
            assert compared.status_code == status
            assert (await client.get(PATH)).status_code == status
            assert (await client.put(PATH, json={})).status_code == 403


NAMES = st.sampled_from(["a", "b", "c"])
TITLES = st.sampled_from(["", "One", "Zwei", "三"])
PLANS = st.fixed_dictionaries(
    {},
    optional={
        "title": TITLES,
        "quota": st.fixed_dictionaries({"limit": st.integers(1, 5)}),
        "concurrency": st.integers(1, 3),
        "approval": st.sampled_from(["automatic", "publisher"]),
        "scopes": st.sampled_from([["predict"], ["predict", "metadata"], ["metadata", "predict"]]),
    },
)
ORIGINS = st.lists(st.sampled_from(["https://x.example", "https://y.example"]), unique=True)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """A configuration that can be applied: what it refers to is in it."""
    plans = draw(st.dictionaries(NAMES, PLANS, max_size=3))
    consumers = draw(
        st.dictionaries(NAMES, st.fixed_dictionaries({}, optional={"title": TITLES}), min_size=1)
    )
    application = st.fixed_dictionaries({}, optional={"title": TITLES, "origins": ORIGINS})
    applications = {
        # A name stays with its consumer, also after the application has ended.
        name: {"consumer": name, **draw(application)}
        for name in draw(st.sets(st.sampled_from(sorted(consumers))))
    }
    plan = st.sampled_from(sorted({*plans, "free", "unlimited"}))
    subscribed = st.dictionaries(st.just("risk"), plan, max_size=1)
    alias = st.dictionaries(NAMES, st.sampled_from([1, 2]), max_size=3)
    return {
        "plans": plans,
        "consumers": consumers,
        "applications": applications,
        "models": {"risk": {"aliases": draw(alias), "title": draw(TITLES)}},
        "subscriptions": {name: draw(subscribed) for name in applications},
    }


class TestRandomConfigurations:
    """One after the other on one control, so that each finds what the ones before have left."""

    @pytest.fixture
    def database_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'tollway.db'}"

    @pytest.fixture
    async def prepared(self, control: Control) -> Control:
        await published(control)
        blob = {"digest": sha256_digest(MODEL), "size": len(MODEL)}
        versions = "/api/v1/models/risk/versions"
        await control.admin.post(versions, json={"artifact": blob, "description": "again"})
        await report(control, 2, "ready", beside=(1,))
        for to in ("validated", "approved", "published"):
            done = await control.admin.post(f"{versions}/2/transitions", json={"to": to})
            assert done.is_success, done.text
        return control

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(configurations(), st.booleans())
    async def test_a_diff_after_an_application_is_empty_and_foretells_it(
        self, prepared: Control, body: dict[str, Any], prune: bool
    ) -> None:
        wanted = Configuration.model_validate(body)
        apply = prepared.services.configurations.apply
        foretold = apply(wanted, INSTALLATION, dry_run=True, prune=prune)

        made = apply(wanted, INSTALLATION, prune=prune)

        assert made.changes == foretold.changes
        assert apply(wanted, INSTALLATION, dry_run=True, prune=prune).changes == []
        assert apply(wanted, INSTALLATION, prune=prune).changes == []
        present = prepared.services.configurations.export(INSTALLATION)
        assert apply(present, INSTALLATION, dry_run=True, prune=True).changes == []
        if prune:
            assert set(present.consumers or ()) == set(body["consumers"])
            assert set(present.applications or ()) == set(body["applications"])
            assert (present.models or {})["risk"].aliases == body["models"]["risk"]["aliases"]
            held = {name: plans for name, plans in body["subscriptions"].items() if plans}
            assert present.subscriptions == held
