"""Webhooks whole: over the API, from an audit entry to a receiver on loopback."""

import asyncio

import msgspec
import pytest
import sqlalchemy as sa

from control.settings import ControlSettings
from control.webhooks.sender import Outcome
from registry.store import audit
from registry.store.database import metadata
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
from tests.control.webhooks.receivers import Received, receiving, status


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    """Receivers are on loopback here."""
    update = {"webhook_allowed_networks": "127.0.0.0/8", "webhook_poll_ms": 20}
    return settings.model_copy(update=update)


async def test_what_happens_is_delivered_signed_and_says_what_it_was(control: Control) -> None:
    async with receiving() as receiver:
        made = await make(control, receiver, events=["key.*"])
        happen(control, id="key-1", label="for the shop", secret="never")
        request = (await receiver.count(1))[0]
        delivery = await in_state(control, made["id"], "delivered")

    event = opened(control, request, made["secret"])
    assert event.type == "key.created"
    assert event.data == {
        "kind": "key",
        "key": "key-1",
        "before": None,
        "after": {"application": "shop", "id": "key-1", "label": "for the shop"},
    }
    assert delivery["event"] == event.id
    assert b"admin" not in request.body


async def test_the_secret_is_shown_once_and_stored_nowhere(control: Control) -> None:
    async with receiving() as receiver:
        made = await make(control, receiver)
        rotated = (await control.admin.post(f"{HOOKS}/{made['id']}/rotate")).json()
        happen(control)
        await in_state(control, made["id"], "delivered")
        seen = (await control.admin.get(HOOKS)).text
        seen += (await control.admin.get(f"{HOOKS}/{made['id']}")).text
        seen += (await control.admin.get(f"{HOOKS}/{made['id']}/deliveries")).text

    with control.services.database.read() as connection:
        for table in metadata.sorted_tables:
            seen += repr(connection.execute(sa.select(table)).all())
    assert made["secret"].startswith("whsec_")
    assert made["secret"] != rotated["secret"]
    for secret in (made["secret"], rotated["secret"]):
        assert secret.removeprefix("whsec_") not in seen
    file = control.settings.webhook_secret_path
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().strip() not in seen


async def test_types_that_were_not_asked_for_are_not_delivered(control: Control) -> None:
    async with receiving() as receiver:
        made = await make(control, receiver, events=["plan.*"])
        happen(control)
        happen(control, "plan.changed", "free", name="free")
        await in_state(control, made["id"], "delivered")

    assert len(receiver.received) == 1


def undone(control: Control) -> None:
    with control.services.database.write() as connection:
        audit.record(connection, "key.created", "key", "key-0", at_ms=0, after={})
        raise RuntimeError("undone")


async def test_what_is_rolled_back_is_not_told(control: Control) -> None:
    async with receiving() as receiver:
        made = await make(control, receiver)
        with pytest.raises(RuntimeError, match="undone"):
            undone(control)
        happen(control)
        await in_state(control, made["id"], "delivered")

    assert [opened(control, r, made["secret"]).data["key"] for r in receiver.received] == ["key-1"]


async def test_what_happened_before_an_endpoint_was_made_is_not_delivered_to_it(
    control: Control,
) -> None:
    happen(control, key="key-0")
    async with receiving() as receiver:
        made = await make(control, receiver)
        happen(control)
        await in_state(control, made["id"], "delivered")

    assert len(receiver.received) == 1


async def test_a_failed_delivery_comes_again_with_the_same_id_and_body(control: Control) -> None:
    async with receiving(status(500)) as receiver:
        made = await make(control, receiver)
        happen(control)
        failed = await in_state(control, made["id"], "pending")
        receiver.answer = status(200)
        control.clock.advance(6)
        await in_state(control, made["id"], "delivered", 2)

    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == failed["event"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert opened(control, second, made["secret"])
    attempt = failed["attempts"][0]  # type: ignore[index]
    assert (attempt["status"], attempt["error"]) == (500, "the receiver answered 500")


async def test_after_the_last_attempt_a_delivery_has_failed(control: Control) -> None:
    async with receiving(status(500)) as receiver:
        made = await make(control, receiver)
        happen(control)
        for attempt in range(1, 12):
            state = "failed" if attempt == 11 else "pending"
            await in_state(control, made["id"], state, attempt)
            control.clock.advance(9 * 3600)

    assert len(receiver.received) == 11
    assert (await deliveries(control, made["id"]))[0]["next_attempt_at"] is None


async def test_a_delivery_that_a_dead_process_had_taken_is_sent_by_the_next(
    control: Control,
) -> None:
    async with receiving() as receiver:
        await control.services.webhooks.dispatcher.close()
        made = await make(control, receiver)
        happen(control)
        parts = control.services.webhooks
        assert parts.dispatcher._events.expand() > 0
        taken = parts.dispatcher._queue.take(9, {}, 4, 60_000)
        assert len(taken) == 1
        assert parts.dispatcher._queue.take(9, {}, 4, 60_000) == []

        parts.dispatcher.open()
        control.clock.advance(61)
        await in_state(control, made["id"], "delivered")

    assert receiver.received[0].headers["webhook-id"] == taken[0].event


async def test_an_attempt_that_outlived_its_lease_does_not_undo_what_the_next_delivered(
    control: Control,
) -> None:
    async with receiving() as receiver:
        await control.services.webhooks.dispatcher.close()
        made = await make(control, receiver)
        happen(control)
        parts = control.services.webhooks
        assert parts.dispatcher._events.expand() > 0
        (late,) = parts.dispatcher._queue.take(9, {}, 4, 60_000)
        control.clock.advance(61)
        (second,) = parts.dispatcher._queue.take(9, {}, 4, 60_000)
        delivered, failed = Outcome(True, 200, "", 5), Outcome(False, None, "no answer", 5)
        assert parts.dispatcher._queue.finish(second, delivered, None) == "delivered"
        assert parts.dispatcher._queue.finish(late, failed, 5.0) == "delivered"

        control.clock.advance(DAY)
        assert parts.dispatcher._queue.take(9, {}, 4, 60_000) == []
        assert [one["state"] for one in await deliveries(control, made["id"])] == ["delivered"]


async def test_entries_are_made_into_deliveries_once_however_many_do_it(control: Control) -> None:
    from concurrent.futures import ThreadPoolExecutor

    async with receiving() as receiver:
        await control.services.webhooks.dispatcher.close()
        made = await make(control, receiver)
        for number in range(30):
            happen(control, key=f"key-{number}")
        expand = control.services.webhooks.dispatcher._events.expand
        with ThreadPoolExecutor(4) as pool:
            seen = sum(pool.map(lambda _: expand(), range(8)))

    assert seen == 31  # the making of the endpoint is an entry as well
    assert len(await deliveries(control, made["id"])) == 30


async def test_one_endpoint_that_hangs_does_not_hold_up_another(control: Control) -> None:
    free = asyncio.Event()

    async def hang(_request: Received, writer: asyncio.StreamWriter) -> None:
        await free.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with receiving(hang) as slow, receiving() as quick:
        first = await make(control, slow)
        second = await make(control, quick)
        for number in range(20):
            happen(control, key=f"key-{number}")
        await quick.count(20)
        under_way = len(slow.received)
        free.set()
        await slow.count(20)
        await in_state(control, first["id"], "delivered")
        await in_state(control, second["id"], "delivered")

    assert under_way <= 4


async def test_a_test_event_is_delivered_whatever_the_types(control: Control) -> None:
    async with receiving() as receiver:
        made = await make(control, receiver, events=["plan.*"])
        answer = await control.admin.post(f"{HOOKS}/{made['id']}/test")
        request = (await receiver.count(1))[0]

    assert answer.status_code == 202
    assert opened(control, request, made["secret"]).type == "webhook.test"


async def test_a_url_that_leads_inside_is_refused_when_it_is_registered_and_when_changed(
    control: Control,
) -> None:
    for url in ("http://10.0.0.1/", "https://169.254.169.254/latest", "https://[::1]/", "ftp://x"):
        answer = await control.admin.post(HOOKS, json={"url": url})
        assert answer.status_code == 422, url
        assert answer.json()["code"] == "invalid"
    async with receiving() as receiver:
        made = await make(control, receiver)
    answer = await control.admin.put(f"{HOOKS}/{made['id']}", json={"url": "https://10.0.0.1/"})
    assert answer.status_code == 422


async def test_an_endpoint_can_be_changed_and_removed_under_a_condition(control: Control) -> None:
    async with receiving(status(500)) as receiver:
        made = await make(control, receiver, title="one")
        path = f"{HOOKS}/{made['id']}"
        tag = (await control.admin.get(path)).headers["ETag"]
        changed = await control.admin.put(
            path, json={"title": "two", "events": ["key.created"]}, headers={"If-Match": tag}
        )
        stale = await control.admin.delete(path, headers={"If-Match": tag})
        happen(control)
        await in_state(control, made["id"], "pending")
        assert (await control.admin.delete(path)).status_code == 204

    assert (changed.json()["title"], changed.json()["events"]) == ("two", ["key.created"])
    assert stale.status_code == 412
    assert (await control.admin.get(path)).status_code == 404
    assert (await control.admin.get(f"{path}/deliveries")).status_code == 404
    with control.services.database.read() as connection:
        actions = connection.execute(
            sa.select(audit.audit.c.action).where(audit.audit.c.kind == "webhook")
        ).scalars()
        assert list(actions) == ["webhook.created", "webhook.changed", "webhook.deleted"]


async def test_a_creation_repeated_under_one_idempotency_key_is_refused(control: Control) -> None:
    async with receiving() as receiver:
        body = {"url": f"http://127.0.0.1:{receiver.port}"}
        headers = {"Idempotency-Key": "k1"}
        first = await control.admin.post(HOOKS, json=body, headers=headers)
        second = await control.admin.post(HOOKS, json=body, headers=headers)

    assert (first.status_code, second.status_code) == (201, 409)
    assert first.json()["id"] in second.json()["detail"]
    assert len((await control.admin.get(HOOKS)).json()["items"]) == 1


async def test_lists_come_in_pages(control: Control) -> None:
    async with receiving() as receiver:
        made = await make(control, receiver)
        await make(control, receiver, events=["plan.*"])
        for number in range(3):
            happen(control, key=f"key-{number}")
        await receiver.count(3)

    async def pages(path: str) -> list[str]:
        found, after = [], ""
        while after is not None:
            query = {"limit": "1", "after": after}
            page = (await control.admin.get(path, params=query)).json()
            found += [item["id"] for item in page["items"]]
            after = page["next"]
        return found

    assert len(set(await pages(HOOKS))) == 2
    assert len(set(await pages(f"{HOOKS}/{made['id']}/deliveries"))) == 3


async def test_deliveries_that_ended_long_ago_are_forgotten(control: Control) -> None:
    async with receiving() as receiver:
        made = await make(control, receiver)
        happen(control)
        await in_state(control, made["id"], "delivered")
        assert control.services.webhooks.expire() == 0
        control.clock.advance(31 * DAY)
        assert control.services.webhooks.expire() == 1

    assert await deliveries(control, made["id"]) == []


async def test_what_is_not_acceptable_is_refused(control: Control) -> None:
    for body in (
        {}, {"url": "https://1.1.1.1", "events": []}, {"url": "https://1.1.1.1", "events": ["x"]},
        {"url": "https://1.1.1.1", "secret": "mine"}, {"url": "https://1.1.1.1", "models": []},
    ):  # fmt: skip
        assert (await control.admin.post(HOOKS, json=body)).status_code == 422, body
    absent = {"url": "https://1.1.1.1", "consumer": "nobody"}
    assert (await control.admin.post(HOOKS, json=absent)).status_code == 404


async def test_the_event_types_are_listed(control: Control) -> None:
    items = (await control.admin.get(f"{HOOKS}/event-types")).json()["items"]

    assert "quota.threshold_reached" in {item["type"] for item in items}


async def test_attempts_and_the_queue_are_counted(control: Control) -> None:
    async with receiving() as receiver:
        made = await make(control, receiver)
        happen(control)
        await in_state(control, made["id"], "delivered")

        async def counted() -> bool:
            text = (await control.anonymous.get("/metrics")).text
            return (
                'tollway_control_webhook_attempts_total{outcome="delivered"} 1.0' in text
                and "tollway_control_webhook_queue 0.0" in text
            )

        await until(counted)


def test_bodies_of_events_are_json() -> None:
    from control.webhooks.events import body_of

    assert msgspec.json.decode(body_of("webhook.test", 0, {"a": 1})) == {
        "type": "webhook.test",
        "timestamp": "1970-01-01T00:00:00.000Z",
        "data": {"a": 1},
    }
