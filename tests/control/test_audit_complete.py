"""Every change by the management API is in the audit log: who, from where, which request, why."""

from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from control.openapi import document
from control.settings import ControlSettings
from registry.store.audit import audit
from tests.control.audited import CASES, NO_CHANGE, Case
from tests.control.running import Control

WRITES = {"post", "put", "patch", "delete"}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """What is recorded does not depend on the database."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    """Everything that is off by default is on, so that every route can succeed."""
    return settings.model_copy(update={"sign_up": True, "webhook_allowed_networks": "127.0.0.1/32"})


def entries(control: Control, request_id: str) -> list[dict[str, object]]:
    query = sa.select(audit).where(audit.c.request_id == request_id).order_by(audit.c.seq)
    with control.services.database.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def test_every_writing_route_has_a_case_or_a_reason(control: Control) -> None:
    writing = {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, operations in document()["paths"].items()
        for method in operations
        if method in WRITES
    }

    assert writing == set(CASES) | set(NO_CHANGE)
    assert not set(CASES) & set(NO_CHANGE)


@pytest.mark.parametrize(
    ("route", "case"),
    [
        pytest.param(route, case, id=f"{route.replace('/', '.')}-{case.action}")
        for route, cases in CASES.items()
        for case in cases
    ],
)
async def test_a_change_leaves_an_entry_that_says_who_from_where_and_why(
    control: Control, route: str, case: Case
) -> None:
    call = await case.prepare(control)
    headers = {
        **call.headers,
        "X-Request-Id": "judged",
        "X-Forwarded-For": "203.0.113.7",
        "Tollway-Reason": "ticket 42: größer",
    }
    method = route.partition(" ")[0]
    sent = {key: value.encode() for key, value in headers.items()}
    if call.secret is not None:
        sent["Authorization"] = f"Bearer {call.secret}".encode()
    client = control.anonymous if call.secret == "" else control.admin
    answer = await client.request(method, f"/api/v1{call.path}", json=call.json, headers=sent)
    assert answer.is_success, answer.text

    found = [one for one in entries(control, "judged") if one["action"] == case.action]

    assert len(found) == 1, [one["action"] for one in entries(control, "judged")]
    entry = found[0]
    assert (entry["actor"], entry["role"]) == call.actor
    assert entry["address"] == "203.0.113.7"
    assert entry["reason"] == (call.own_reason or "ticket 42: größer")
    assert entry["kind"] == case.kind
    assert case.key is None or entry["key"] == case.key
    for state in (entry["before"], entry["after"]):
        assert state is None or isinstance(msgspec.json.decode(str(state)), dict)


async def test_a_request_without_an_id_gets_one_in_the_log(control: Control) -> None:
    await control.admin.put("/api/v1/models/risk")

    with control.services.database.read() as connection:
        found = connection.execute(sa.select(audit.c.request_id).order_by(audit.c.seq.desc()))
        assert len(str(found.scalars().first())) == 16


async def test_what_changes_nothing_leaves_no_entry(control: Control) -> None:
    for _ in range(2):
        await control.admin.put("/api/v1/models/risk", json={"title": "Risk"})
    refused = await control.admin.put(
        "/api/v1/models/risk", json={"title": "x"}, headers={"If-None-Match": "*"}
    )

    assert refused.status_code == 412
    with control.services.database.read() as connection:
        kinds = connection.execute(sa.select(audit.c.action).where(audit.c.kind == "model"))
        assert list(kinds.scalars()) == ["model.created"]
