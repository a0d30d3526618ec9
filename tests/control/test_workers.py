"""Workers register, are silent, are lost, and tell the registry what serves."""

import json
from typing import Any

import pytest
import sqlalchemy as sa

from control.store.workers import summary
from registry.status import EngineStatus
from registry.store.audit import audit
from tests.control.running import Control


def document(id: str, state: str = "ready", error: str = "", version: int = 1) -> dict[str, Any]:
    engine = {
        "model": "risk",
        "version": version,
        "slot": 0,
        "address": "unix:/run/e.sock",
        "state": state,
        "error": error,
    }
    return {"id": id, "engines": [engine]}


async def report(control: Control, body: dict[str, Any]) -> None:
    answer = await control.cluster.put(f"/internal/v1/workers/{body['id']}", json=body)
    assert answer.status_code == 204, answer.text


def worker_changes(control: Control) -> list[tuple[str, bool]]:
    return [
        (one.key, bytes(one.doc) == b"null")
        for one in control.services.stream.rows(0, 1000)
        if one.kind == "worker"
    ]


async def test_a_heartbeat_makes_a_change_only_when_engines_differ(control: Control) -> None:
    await report(control, document("w1", "starting"))
    await report(control, document("w1", "starting"))
    assert worker_changes(control) == [("w1", False)]

    await report(control, document("w1", "ready"))

    assert worker_changes(control) == [("w1", False), ("w1", False)]
    shown = (await control.admin.get("/api/v1/workers")).json()["items"]
    assert [(one["id"], one["engines"][0]["state"]) for one in shown] == [("w1", "ready")]


async def test_what_workers_find_is_listed_until_they_no_longer_report_it(
    control: Control,
) -> None:
    body = document("w1")
    found = {"kind": "batch_variance", "message": "rows differ", "since": 1_700_000_000}
    body["engines"][0]["alerts"] = [found]
    await report(control, body)

    (alert,) = (await control.admin.get("/api/v1/alerts")).json()["items"]

    assert alert == {
        "kind": "batch_variance",
        "message": "rows differ",
        "since": "2023-11-14T22:13:20.000Z",
        "model": "risk",
        "version": 1,
        "worker": "w1",
        "gateway": "",
        "slot": 0,
    }
    await report(control, document("w1"))
    assert (await control.admin.get("/api/v1/alerts")).json()["items"] == []


def told(control: Control) -> list[tuple[str, str, str | None, str | None]]:
    """(action, key, before, after) of what was recorded of alerts."""
    query = sa.select(audit).where(audit.c.kind == "alert").order_by(audit.c.seq)
    with control.services.database.read() as connection:
        rows = connection.execute(query).all()
    return [(row.action, row.key, row.before, row.after) for row in rows]


def warned(id: str, engines: int = 1) -> dict[str, Any]:
    """A worker of which so many engines, of two, have found something."""
    first = document(id)["engines"][0]
    found = {"kind": "batch_variance", "message": "rows differ", "since": 1_700_000_000}
    return {
        "id": id,
        "engines": [
            {**first, "slot": slot, "alerts": [found] if slot < engines else []} for slot in (0, 1)
        ],
    }


async def test_an_alert_is_recorded_when_it_begins_and_when_it_ends(control: Control) -> None:
    for engines in (0, 1, 1, 2, 1, 0):
        await report(control, warned("w1", engines))

    (raised, key, before, after), (ended, _, was, nothing) = told(control)

    assert (raised, key, before) == ("alert.raised", "risk/1", None)
    assert (ended, was, nothing) == ("alert.ended", after, None)
    assert after is not None
    assert json.loads(after) == {
        "kind": "batch_variance",
        "message": "rows differ",
        "since": "2023-11-14T22:13:20.000Z",
        "model": "risk",
        "version": 1,
        "worker": "w1",
        "gateway": "",
    }


async def test_alerts_of_a_worker_that_goes_or_is_lost_end(control: Control) -> None:
    control.clock.advance(20)
    await report(control, warned("w1"))
    await report(control, warned("w2"))
    for _ in range(2):
        await control.cluster.delete("/internal/v1/workers/w1")
    control.clock.advance(20)
    assert control.services.workers.drop_lost() == ["w2"]

    actions = [action for action, *_ in told(control)]
    assert actions == ["alert.raised", "alert.raised", "alert.ended", "alert.ended"]


async def test_a_silent_worker_is_dropped_and_comes_back(control: Control) -> None:
    control.clock.advance(20)
    await report(control, document("w1"))
    await report(control, document("w2"))
    control.clock.advance(10)
    await report(control, document("w2"))
    assert control.services.workers.drop_lost() == []

    control.clock.advance(5)
    assert control.services.workers.drop_lost() == ["w1"]
    assert control.services.workers.drop_lost() == []

    assert worker_changes(control)[-1] == ("w1", True)
    assert control.services.workers.status("risk", 1).engines[0].worker == "w2"
    await report(control, document("w1"))
    assert worker_changes(control)[-1] == ("w1", False)


async def test_nobody_is_lost_while_control_itself_has_just_started(control: Control) -> None:
    control.services.workers.report(_doc("w1"))
    control.clock.advance(14.9)
    assert control.services.workers.drop_lost() == []
    control.clock.advance(0.1)
    assert control.services.workers.drop_lost() == ["w1"]


async def test_a_worker_that_says_goodbye_is_gone_at_once(control: Control) -> None:
    await report(control, document("w1"))
    for _ in range(2):
        answer = await control.cluster.delete("/internal/v1/workers/w1")
        assert answer.status_code == 204

    assert worker_changes(control) == [("w1", False), ("w1", True)]
    assert control.services.workers.status("risk", 1).state == "none"


async def test_documents_that_are_none_are_refused(control: Control) -> None:
    url = "/internal/v1/workers/w1"
    assert (await control.cluster.put(url, content=b"{")).status_code == 400
    assert (await control.cluster.put(url, json={"engines": []})).status_code == 422
    assert (await control.cluster.put(url, json={"id": "w2"})).status_code == 422
    bad_name = await control.cluster.put("/internal/v1/workers/W_1", json={"id": "W_1"})
    assert bad_name.status_code == 422


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], "none"),
        (["starting"], "loading"),
        (["failed", "ready"], "ready"),
        (["failed", "starting"], "failed"),
        (["stopped"], "none"),
        (["cold"], "ready"),
    ],
)
def test_one_state_stands_for_all_engines_of_a_version(states: list[str], expected: str) -> None:
    engines = [
        EngineStatus(worker=f"w{n}", slot=0, state=state, error="why" if state == "failed" else "")
        for n, state in enumerate(states)
    ]

    status = summary(engines)

    assert status.state == expected
    assert status.error == ("why" if "failed" in states else "")


def _doc(id: str) -> Any:
    import msgspec

    from protocol.configuration import WorkerDoc

    return msgspec.convert(document(id), WorkerDoc)
