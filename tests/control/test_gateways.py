"""Gateways that would count limits apart are refused, whoever starts first, whatever dies."""

from typing import Any

import pytest

from tests.control.running import Control

A = "redis://redis:6379/0"


async def report(
    control: Control, id: str, counters: str = "memory", started_ms: int = 1
) -> tuple[int, str]:
    body: dict[str, Any] = {
        "id": id, "counters": counters, "version": "1.0", "started_ms": started_ms,
    }  # fmt: skip
    answer = await control.cluster.put(f"/internal/v1/gateways/{id}", json=body)
    return answer.status_code, "" if answer.status_code == 204 else answer.json()["detail"]


async def alive(control: Control) -> list[str]:
    items = (await control.admin.get("/api/v1/gateways")).json()["items"]
    return [item["id"] for item in items]


@pytest.fixture
def control(control: Control) -> Control:
    control.clock.advance(60)  # it has listened for long enough to know who is silent
    return control


async def test_a_second_gateway_on_memory_counters_is_refused_and_told_what_to_do(
    control: Control,
) -> None:
    assert (await report(control, "g1"))[0] == 204
    control.clock.advance(3)
    status, detail = await report(control, "g2")
    assert status == 409
    assert detail == (
        "gateway 'g1', last seen 3 s ago, counts limits in memory, this one in memory: limits "
        "would not hold. Stop that gateway, or give every gateway the same Redis "
        "(TOLLWAY_COUNTERS=redis)"
    )
    assert await alive(control) == ["g1"]


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [(A, A, 204), (A, "memory", 409), ("memory", A, 409), (A, "redis://other:6379/0", 409)],
)
async def test_gateways_run_together_only_when_they_count_in_one_place(
    control: Control, first: str, second: str, status: int
) -> None:
    assert (await report(control, "g1", first))[0] == 204
    assert (await report(control, "g2", second))[0] == status


async def test_the_same_gateway_may_start_again_at_once(control: Control) -> None:
    assert (await report(control, "g1", started_ms=1))[0] == 204
    assert (await report(control, "g1", started_ms=2))[0] == 204


async def test_a_copied_data_directory_ends_the_gateway_that_started_first(
    control: Control,
) -> None:
    assert (await report(control, "g1", started_ms=5))[0] == 204
    assert (await report(control, "g1", started_ms=9))[0] == 204
    status, detail = await report(control, "g1", started_ms=5)
    assert (status, "data directory of its own" in detail) == (409, True)


async def test_a_silent_gateway_is_lost_and_another_may_take_its_place(control: Control) -> None:
    await report(control, "g1")
    control.clock.advance(9)
    assert (await report(control, "g2"))[0] == 409
    control.clock.advance(1)
    assert (await report(control, "g2"))[0] == 204
    assert (await report(control, "g1"))[0] == 409  # it was not dead, and is told
    assert control.services.gateways.drop_lost() == ["g1"]
    assert await alive(control) == ["g2"]


async def test_a_gateway_that_says_goodbye_leaves_its_place(control: Control) -> None:
    await report(control, "g1")
    for _ in range(2):
        answer = await control.cluster.delete("/internal/v1/gateways/g1")
        assert answer.status_code == 204
    assert (await report(control, "g2"))[0] == 204


async def test_while_control_was_away_it_was_not_gateways_that_were_silent(
    control: Control,
) -> None:
    await report(control, "g1")
    control.clock.advance(3600)
    gateways = control.services.gateways
    gateways._started_ms = control.clock()
    assert (await report(control, "g2"))[0] == 409
    assert gateways.drop_lost() == []
    assert (await report(control, "g1"))[0] == 204


async def test_reports_are_for_the_roles_and_the_list_for_operators(control: Control) -> None:
    body = {"id": "g1", "counters": "memory", "version": "1", "started_ms": 1}
    for client in (control.anonymous, control.admin):
        answer = await client.put("/internal/v1/gateways/g1", json=body)
        assert answer.status_code == 401
    assert (await control.anonymous.get("/api/v1/gateways")).status_code == 401
    answer = await control.cluster.put("/internal/v1/gateways/g2", json=body)
    assert answer.status_code == 422
    answer = await control.cluster.put(
        "/internal/v1/gateways/g1", json=body | {"version": "x" * 99}
    )
    assert answer.status_code == 422


async def test_what_a_gateway_does_not_route_to_is_an_alert_until_it_does(
    control: Control,
) -> None:
    found = {"model": "iris", "version": 2, "problem": "it has no seal", "since": 1_700_000_000}
    body: dict[str, Any] = {
        "id": "g1", "counters": "memory", "version": "1.0", "started_ms": 1,
    }  # fmt: skip
    for unverified in ([], [found], [found], []):
        await control.cluster.put(
            "/internal/v1/gateways/g1", json=body | {"unverified": unverified}
        )
        alerts = (await control.admin.get("/api/v1/alerts")).json()["items"]
        assert [(one["kind"], one["gateway"], one["version"]) for one in alerts] == [
            ("unverified_version", "g1", 2) for _ in unverified
        ]
    entries = (await control.admin.get("/api/v1/audit?kind=alert")).json()["items"]
    assert sorted(one["action"] for one in entries) == ["alert.ended", "alert.raised"]


@pytest.mark.parametrize("leaves", ["goodbye", "silence"])
async def test_an_alert_ends_with_its_gateway_and_begins_anew_with_its_return(
    control: Control, leaves: str
) -> None:
    found = {"model": "iris", "version": 2, "problem": "it has no seal", "since": 1_700_000_000}
    body: dict[str, Any] = {
        "id": "g1", "counters": "memory", "version": "1.0", "started_ms": 1, "unverified": [found],
    }  # fmt: skip
    await control.cluster.put("/internal/v1/gateways/g1", json=body)
    if leaves == "goodbye":
        for _ in range(2):
            await control.cluster.delete("/internal/v1/gateways/g1")
    else:
        control.clock.advance(10)
        assert control.services.gateways.drop_lost() == ["g1"]
    await control.cluster.put("/internal/v1/gateways/g1", json=body)
    entries = (await control.admin.get("/api/v1/audit?kind=alert")).json()["items"]
    assert sorted(one["action"] for one in entries) == [
        "alert.ended", "alert.raised", "alert.raised",
    ]  # fmt: skip
    ended = next(one for one in entries if one["action"] == "alert.ended")
    assert (ended["before"]["gateway"], ended["before"]["version"]) == ("g1", 2)
