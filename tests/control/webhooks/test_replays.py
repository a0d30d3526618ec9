"""What was not delivered is sent again or afterwards, and endpoints that fail are disabled."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from control.settings import ControlSettings
from registry.store import audit
from tests.control.running import Control
from tests.control.webhooks.happenings import (
    DAY,
    HOOKS,
    deliveries,
    happen,
    in_state,
    make,
    opened,
    until,
)
from tests.control.webhooks.receivers import receiving, status
from tollway.webhooks import WebhookVerificationError


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    """Receivers are on loopback here."""
    update = {"webhook_allowed_networks": "127.0.0.0/8", "webhook_poll_ms": 20}
    return settings.model_copy(update=update)


async def test_an_endpoint_that_takes_nothing_for_days_is_disabled_and_that_is_audited(
    control: Control,
) -> None:
    async with receiving(status(500)) as receiver:
        made = await make(control, receiver)
        happen(control)
        await in_state(control, made["id"], "pending")
        control.clock.advance(5 * DAY)
        happen(control, key="key-2")

        async def disabled() -> bool:
            return not (await control.admin.get(f"{HOOKS}/{made['id']}")).json()["enabled"]

        await until(disabled)

    shown = (await control.admin.get(f"{HOOKS}/{made['id']}")).json()
    assert "no delivery was taken since" in shown["disabled_reason"]
    assert {d["state"] for d in await deliveries(control, made["id"])} == {"failed"}
    with control.services.database.read() as connection:
        query = sa.select(audit.audit).where(audit.audit.c.action == "webhook.disabled")
        entry = connection.execute(query).one()
    assert (entry.actor, entry.key) == ("system", made["id"])


async def test_a_receiver_that_is_gone_is_disabled_at_once(control: Control) -> None:
    async with receiving(status(410)) as receiver:
        made = await make(control, receiver)
        happen(control)
        await in_state(control, made["id"], "failed")

    shown = (await control.admin.get(f"{HOOKS}/{made['id']}")).json()
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "the receiver answered 410 Gone")


async def test_a_success_ends_the_count_of_failing_days(control: Control) -> None:
    async with receiving(status(500)) as receiver:
        made = await make(control, receiver)
        happen(control)
        await in_state(control, made["id"], "pending")
        assert (await control.admin.get(f"{HOOKS}/{made['id']}")).json()["failing_since"]
        receiver.answer = status(200)
        control.clock.advance(6)
        await in_state(control, made["id"], "delivered", 2)

    assert (await control.admin.get(f"{HOOKS}/{made['id']}")).json()["failing_since"] is None


async def test_during_the_overlap_both_secrets_sign_and_afterwards_the_new_one(
    control: Control,
) -> None:
    async with receiving() as receiver:
        made = await make(control, receiver)
        path = f"{HOOKS}/{made['id']}/rotate"
        rotated = (await control.admin.post(path, json={"overlap_s": 60})).json()
        happen(control)
        await in_state(control, made["id"], "delivered")
        for secret in (made["secret"], rotated["secret"]):
            assert opened(control, receiver.received[0], secret)
        control.clock.advance(60)
        happen(control, key="key-2")
        request = (await receiver.count(2))[1]

    assert opened(control, request, rotated["secret"])
    with pytest.raises(WebhookVerificationError):
        opened(control, request, made["secret"])


async def test_an_overlap_of_zero_ends_the_old_secret_now(control: Control) -> None:
    async with receiving() as receiver:
        made = await make(control, receiver)
        await control.admin.post(f"{HOOKS}/{made['id']}/rotate", json={"overlap_s": 0})
        happen(control)
        request = (await receiver.count(1))[0]

    with pytest.raises(WebhookVerificationError):
        opened(control, request, made["secret"])


async def test_a_delivery_can_be_sent_again(control: Control) -> None:
    async with receiving() as receiver:
        made = await make(control, receiver)
        happen(control)
        delivery = await in_state(control, made["id"], "delivered")
        path = f"{HOOKS}/{made['id']}/deliveries/{delivery['id']}"
        assert (await control.admin.post(f"{path}/replay")).status_code == 202
        await in_state(control, made["id"], "delivered", 2)
        detail = (await control.admin.get(path)).json()

    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert second.body.decode() == detail["body"]


async def test_what_happened_before_there_was_an_endpoint_was_not_missed_by_it(
    control: Control,
) -> None:
    async with receiving() as receiver:
        happen(control, key="key-1")
        control.clock.advance(60)
        made = await make(control, receiver, events=["key.*"])
        path = f"{HOOKS}/{made['id']}/replay"
        missed = await control.admin.post(path, json=_day(control))
        everything = await control.admin.post(path, json={**_day(control), "include": "all"})
        await receiver.count(1)

    assert (missed.json()["queued"], everything.json()["queued"]) == (0, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"after": 2**70},
        {"from": "0001-01-01T00:00:00+14:00"},
        {"to": "9999-12-31T23:59:59-14:00"},
    ],
)
async def test_a_replay_of_no_possible_time_is_refused(
    control: Control, change: dict[str, object]
) -> None:
    async with receiving() as receiver:
        made = await make(control, receiver)
        body = {**_day(control), **change}
        answer = await control.admin.post(f"{HOOKS}/{made['id']}/replay", json=body)

    assert answer.status_code == 422


async def test_what_was_missed_while_disabled_can_be_sent_afterwards(control: Control) -> None:
    async with receiving() as receiver:
        made = await make(control, receiver, events=["key.*"])
        path = f"{HOOKS}/{made['id']}"
        happen(control, key="key-1")
        await in_state(control, made["id"], "delivered")
        await control.admin.put(path, json={"enabled": False})
        happen(control, key="key-2")
        control.services.webhooks.dispatcher._events.expand()  # seen while it is disabled
        refused = await control.admin.post(f"{path}/replay", json=_day(control))
        await control.admin.put(path, json={"enabled": True})
        replay = await control.admin.post(f"{path}/replay", json=_day(control))
        await receiver.count(2)
        await in_state(control, made["id"], "delivered")
        again = await control.admin.post(f"{path}/replay", json={**_day(control), "include": "all"})
        await receiver.count(4)

    assert refused.status_code == 409
    assert replay.json() == {"queued": 1, "next": None}
    assert again.json()["queued"] == 2
    keys = [opened(control, r, made["secret"]).data["key"] for r in receiver.received]
    assert keys[:2] == ["key-1", "key-2"]
    assert sorted(keys[2:]) == ["key-1", "key-2"]  # type: ignore[type-var]


def _day(control: Control) -> dict[str, str]:
    def moment(offset: float) -> str:
        return datetime.fromtimestamp(control.clock.now_ms / 1000 + offset, UTC).isoformat()

    return {"from": moment(-DAY / 2), "to": moment(DAY / 2)}


async def test_disabling_drops_what_is_still_to_be_sent(control: Control) -> None:
    async with receiving(status(500)) as receiver:
        made = await make(control, receiver)
        happen(control)
        await in_state(control, made["id"], "pending")
        await control.admin.put(f"{HOOKS}/{made['id']}", json={"enabled": False})

    assert (await deliveries(control, made["id"]))[0]["state"] == "failed"
