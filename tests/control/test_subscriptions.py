"""Subscriptions that wait for approval, and models that take no new ones."""

import json

import msgspec
import pytest
import sqlalchemy as sa

from protocol.configuration import SubscriptionDoc
from registry.access import Actor
from registry.store.audit import audit
from registry.store.tables import versions
from tests.control.acting import Cast
from tests.control.running import Control
from tests.control.test_management import add_model

PATH = "/api/v1/subscriptions/shop/risk"


def add_version(control: Control, model: str, number: int, state: str) -> None:
    with control.services.database.write() as connection:
        row = {
            "model": model, "number": number, "digest": "d", "manifest": "{}", "state": state,
            "loaded": False, "created_at": 0, "created_by": "x",
        }  # fmt: skip
        connection.execute(sa.insert(versions).values(row))


def plan_on_stream(control: Control) -> str | None:
    """The plan of the subscription that gateways know; None: they know of none."""
    found: SubscriptionDoc | None = None
    for one in control.services.stream.rows(0, 1000):
        if (one.kind, one.key) == ("subscription", "shop/risk"):
            found = msgspec.json.decode(one.doc, type=SubscriptionDoc | None)
    return None if found is None else found.plan


def entries(control: Control) -> list[tuple[str, str]]:
    query = sa.select(audit.c.action, audit.c.reason).where(audit.c.kind == "subscription")
    with control.services.database.read() as connection:
        return [(a, r) for a, r in connection.execute(query.order_by(audit.c.seq))]


class Place:
    """A consumer with an application, a model with its publisher, and a plan that asks."""

    def __init__(self, control: Control, cast: Cast) -> None:
        self.control = control
        self.consumer = cast.client(Actor("ann", "consumer", consumer="acme"))
        self.publisher = cast.client(Actor("pub", "publisher", "press", frozenset({"risk"})))
        self.stranger = cast.client(Actor("str", "publisher", "other", frozenset({"fraud"})))
        self.admin = cast.client(Actor("root", "admin"))


@pytest.fixture
async def place(control: Control, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(control, Cast(control, monkeypatch))
    add_model(control, "risk")
    add_version(control, "risk", 1, "published")
    await made.admin.put("/api/v1/consumers/acme")
    await made.admin.put("/api/v1/plans/gold", json={"approval": "publisher"})
    assert (await made.consumer.put("/api/v1/applications/shop")).status_code == 201
    return made


async def test_a_plan_that_asks_for_approval_waits_for_it(place: Place) -> None:
    asked = await place.consumer.put(PATH, json={"plan": "gold"})
    before = plan_on_stream(place.control)
    approved = await place.publisher.post(PATH + "/approve", json={"reason": "welcome"})

    assert asked.status_code == 201
    assert asked.json()["state"] == "pending"
    assert before is None
    assert approved.status_code == 200
    assert approved.json()["state"] == "active"
    assert approved.json()["reason"] == "welcome"
    assert approved.json()["decided_at"] is not None
    assert plan_on_stream(place.control) == "gold"
    assert entries(place.control) == [
        ("subscription.requested", ""),
        ("subscription.approved", "welcome"),
    ]


async def test_who_manages_the_model_needs_no_approval(place: Place) -> None:
    made = await place.admin.put(PATH, json={"plan": "gold"})

    assert made.json()["state"] == "active"
    assert plan_on_stream(place.control) == "gold"


async def test_a_refusal_needs_a_reason_and_can_be_asked_again(place: Place) -> None:
    await place.consumer.put(PATH, json={"plan": "gold"})
    silent = await place.publisher.post(PATH + "/refuse", json={})
    refused = await place.publisher.post(PATH + "/refuse", json={"reason": "no contract"})
    again = await place.publisher.post(PATH + "/refuse", json={"reason": "no"})
    seen = await place.consumer.get(PATH)
    asked = await place.consumer.put(PATH, json={"plan": "gold"})

    assert silent.status_code == 422
    assert (refused.json()["state"], refused.json()["reason"]) == ("refused", "no contract")
    assert again.status_code == 409
    assert seen.json() == refused.json()
    assert (asked.json()["state"], asked.json()["reason"]) == ("pending", None)
    assert plan_on_stream(place.control) is None


async def test_a_refused_one_can_be_approved_after_all(place: Place) -> None:
    await place.consumer.put(PATH, json={"plan": "gold"})
    await place.publisher.post(PATH + "/refuse", json={"reason": "no contract"})
    approved = await place.publisher.post(PATH + "/approve")

    assert approved.json()["state"] == "active"


async def test_an_upgrade_that_waits_keeps_the_present_plan_working(place: Place) -> None:
    await place.consumer.put(PATH, json={"plan": "free"})
    asked = await place.consumer.put(PATH, json={"plan": "gold"})

    assert asked.status_code == 200
    assert asked.json()["state"] == "active"
    assert (asked.json()["plan"], asked.json()["requested_plan"]) == ("free", "gold")
    assert plan_on_stream(place.control) == "free"
    waiting = await place.publisher.get("/api/v1/subscriptions", params={"state": "pending"})
    assert [one["requested_plan"] for one in waiting.json()["items"]] == ["gold"]
    in_use = await place.admin.delete("/api/v1/plans/gold")
    assert in_use.status_code == 409
    approved = await place.publisher.post(PATH + "/approve")
    assert (approved.json()["plan"], approved.json()["requested_plan"]) == ("gold", None)
    assert plan_on_stream(place.control) == "gold"


async def test_a_refused_upgrade_changes_nothing_and_can_be_withdrawn(place: Place) -> None:
    await place.consumer.put(PATH, json={"plan": "free"})
    await place.consumer.put(PATH, json={"plan": "gold"})
    refused = await place.publisher.post(PATH + "/refuse", json={"reason": "not yet"})
    await place.consumer.put(PATH, json={"plan": "gold"})
    withdrawn = await place.consumer.put(PATH, json={"plan": "free"})
    nothing = await place.publisher.post(PATH + "/approve")

    assert (refused.json()["state"], refused.json()["plan"]) == ("active", "free")
    assert refused.json()["requested_plan"] is None
    assert withdrawn.json()["requested_plan"] is None
    assert nothing.status_code == 409
    assert plan_on_stream(place.control) == "free"


async def test_a_consumer_cannot_approve_its_own_wish(place: Place) -> None:
    await place.consumer.put(PATH, json={"plan": "gold"})
    by_role = await place.consumer.post(PATH + "/approve")
    by_stranger = await place.stranger.post(PATH + "/approve")

    assert by_role.status_code == 403
    assert by_stranger.status_code == 404
    assert (await place.consumer.get(PATH)).json()["state"] == "pending"


async def test_a_publisher_does_not_decide_on_another_publishers_model(
    place: Place, control: Control
) -> None:
    add_model(control, "fraud")
    add_version(control, "fraud", 1, "published")
    await place.publisher.put("/api/v1/consumers/press")
    await place.admin.put("/api/v1/consumers/press")
    await place.publisher.put("/api/v1/applications/mine")
    path = "/api/v1/subscriptions/mine/fraud"
    asked = await place.publisher.put(path, json={"plan": "gold"})
    refused = await place.publisher.post(path + "/approve")

    assert asked.json()["state"] == "pending"
    assert refused.status_code == 403
    assert "manages model 'fraud'" in refused.json()["detail"]


async def test_what_was_seen_is_what_is_approved(place: Place) -> None:
    await place.admin.put("/api/v1/plans/platinum", json={"approval": "publisher"})
    asked = await place.consumer.put(PATH, json={"plan": "gold"})
    await place.consumer.put(PATH, json={"plan": "platinum"})
    seen = {"If-Match": asked.headers["ETag"]}
    refused = await place.publisher.post(PATH + "/approve", headers=seen)

    assert refused.status_code == 412


@pytest.mark.parametrize(
    ("states", "by_consumer", "by_publisher"),
    [
        ([], 404, 201),
        (["registered"], 404, 201),
        (["published"], 201, 201),
        (["deprecated", "published"], 201, 201),
        (["deprecated"], 409, 409),
        (["retired", "deprecated"], 409, 409),
        (["retired"], 409, 409),
        (["retired", "approved"], 409, 201),
        (["rejected"], 404, 201),
    ],
)
async def test_only_a_model_with_a_future_takes_new_subscriptions(
    place: Place, control: Control, states: list[str], by_consumer: int, by_publisher: int
) -> None:
    add_model(control, "fraud")
    for number, state in enumerate(states, 1):
        add_version(control, "fraud", number, state)
    path = "/api/v1/subscriptions/shop/fraud"
    by = await place.consumer.put(path, json={"plan": "free"})
    if by.status_code == 201:
        await place.consumer.delete(path)
    for_itself = await place.admin.put(path, json={"plan": "free"})

    assert by.status_code == by_consumer, by.text
    assert for_itself.status_code == by_publisher, for_itself.text
    if by.status_code == 409:
        assert "takes no new subscriptions" in by.json()["detail"]


async def test_a_subscription_that_exists_may_change_its_plan_to_the_end(
    place: Place, control: Control
) -> None:
    await place.consumer.put(PATH, json={"plan": "free"})
    with control.services.database.write() as connection:
        connection.execute(sa.update(versions).values(state="deprecated"))

    moved = await place.consumer.put(PATH, json={"plan": "standard"})

    assert moved.status_code == 200
    assert plan_on_stream(control) == "standard"


async def test_what_ends_a_subscription_is_recorded_with_what_it_was(
    place: Place, control: Control
) -> None:
    await place.consumer.put(PATH, json={"plan": "free"})
    await place.publisher.delete(PATH, headers={"Tollway-Reason": "contract over"})
    with control.services.database.read() as connection:
        row = connection.execute(sa.select(audit).order_by(audit.c.seq.desc())).first()

    assert row is not None
    assert (row.action, row.actor, row.reason) == ("subscription.deleted", "pub", "contract over")
    assert json.loads(row.before)["plan"] == "free"
    assert plan_on_stream(control) is None
