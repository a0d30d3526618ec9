"""What followers see: order, resets, revocation at once, an answer when control stops."""

import asyncio
import time

import httpx
import msgspec
import pytest

from control.reach import EVERYTHING
from control.resources import KeyRequest
from control.store.stream import Stream
from protocol.configuration import ChangePage, SubscriptionDoc
from registry.store import changes
from registry.store.database import Database
from tests.control.running import Control

WELL_UNDER_A_SECOND = 0.5


async def page(
    client: httpx.AsyncClient, stream: str = "", after: int = 0, wait_ms: int = 0
) -> ChangePage:
    params = {"stream": stream, "after": str(after), "wait_ms": str(wait_ms)}
    answer = await client.get("/internal/v1/changes", params=params)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=ChangePage)


async def test_a_new_follower_gets_the_present_state_whole(control: Control) -> None:
    found = await page(control.cluster)

    assert found.reset
    assert not found.more
    assert [(one.kind, one.key) for one in found.changes] == [
        ("key", "admin"),
        ("plan", "free"),
        ("plan", "standard"),
        ("plan", "unlimited"),
    ]
    assert (await page(control.cluster, found.stream, found.next)).changes == []


async def test_a_revocation_reaches_a_waiting_follower_well_within_a_second(
    control: Control,
) -> None:
    await control.admin.put("/api/v1/applications/shop")
    key = control.services.keys.create(
        KeyRequest(application="shop"), created_by="admin", reach=EVERYTHING
    )
    now = await page(control.cluster)
    waiting = asyncio.create_task(page(control.cluster, now.stream, now.next, wait_ms=20_000))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done

    started = time.monotonic()
    await control.admin.post(f"/api/v1/keys/{key.id}/revoke")
    found = await waiting

    assert time.monotonic() - started < WELL_UNDER_A_SECOND
    assert [(one.key, bytes(one.doc)) for one in found.changes] == [(key.id, b"null")]


async def test_a_change_by_another_control_process_reaches_a_waiting_follower(
    control: Control,
) -> None:
    now = await page(control.cluster)
    waiting = asyncio.create_task(page(control.cluster, now.stream, now.next, wait_ms=20_000))
    await asyncio.wait([waiting], timeout=0.2)
    other = Database(control.settings.database)

    started = time.monotonic()
    with other.write() as connection:
        changes.append(connection, "worker", "w1", None)
    other.close()
    found = await waiting

    assert time.monotonic() - started < 1.0
    assert [one.key for one in found.changes] == ["w1"]


async def test_a_wait_without_changes_ends_with_an_empty_page(control: Control) -> None:
    now = await page(control.cluster)

    found = await page(control.cluster, now.stream, now.next, wait_ms=30)

    assert (found.changes, found.reset, found.next) == ([], False, now.next)


async def test_a_follower_of_another_database_starts_over_at_once(control: Control) -> None:
    found = await page(control.cluster, "another", 3, wait_ms=20_000)
    beyond = await page(control.cluster, found.stream, 10_000, wait_ms=20_000)

    assert found.reset
    assert beyond.reset


async def test_a_bad_place_is_refused(control: Control) -> None:
    for params in ({"after": "-1"}, {"after": "x"}, {"wait_ms": "-1"}, {"after": "9" * 30}):
        answer = await control.cluster.get("/internal/v1/changes", params=params)
        assert answer.status_code == 422, params


def test_compaction_keeps_the_newest_and_sends_laggards_back_to_the_start(
    database: Database,
) -> None:
    stream = Stream(database)
    name = stream.page("", 0).stream
    with database.write() as connection:
        for number in range(10):
            changes.append(connection, "plan", f"p{number % 2}", _plan(number))
        changes.append(connection, "plan", "p1", None)
    assert stream.surplus() == 9

    dropped = stream.compact()

    assert dropped == 10
    assert stream.surplus() == 0
    state = stream.page("", 0)
    assert [(one.key, one.seq) for one in state.changes] == [("p0", 9)]
    assert stream.page(name, 5).reset
    assert not stream.page(name, state.next).reset
    with database.write() as connection:
        changes.append(connection, "plan", "p0", None)
    assert [one.seq for one in stream.page(name, state.next).changes] == [12]


def test_pages_are_bounded_by_bytes_and_join_without_gap(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PAGE_BYTES", 100)
    stream = Stream(database)
    name = stream.page("", 0).stream
    large = SubscriptionDoc(application="a" * 200, model="m", plan="p")
    with database.write() as connection:
        for number in range(5):
            changes.append(connection, "subscription", f"s{number}", large)
            changes.append(connection, "subscription", f"t{number}", None)
    pages, after, more = [], 0, True
    while more:
        page = stream.page(name, after)
        after, more = page.next, page.more
        pages.append([one.key for one in page.changes])
    assert [key for keys in pages for key in keys] == [f"{k}{n}" for n in range(5) for k in "st"]
    assert all(sum(key.startswith("s") for key in keys) <= 1 for keys in pages)


def _plan(number: int) -> msgspec.Struct:
    from protocol.configuration import PlanDoc

    return PlanDoc(name="p", max_body_bytes=number)
