"""The audit log from Python and from a shell."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from tollway import Client
from tollway.cli.app import app

ENTRY = {
    "seq": 7,
    "at": "2026-11-20T14:03:00.000Z",
    "actor": "ann",
    "role": "publisher",
    "address": "203.0.113.7",
    "request_id": "r",
    "reason": "ticket 7",
    "action": "alias.moved",
    "kind": "alias",
    "key": "risk/stable",
    "before": {"version": 1},
    "after": {"version": 2},
    "hash": "00",
}
ANSWER = {
    "application": "shop",
    "model": "risk",
    "at": "2026-11-20T14:03:00.000Z",
    "routed": {"version": 2, "variant": "stable", "since": "2026-11-20T00:00:00Z", "entry": 7},
    "subscription": {"plan": "free", "state": "active", "since": None, "entry": 5},
    "minute": "2026-11-20T14:03:00.000Z",
    "counted": [{"version": 2, "variant": "stable", "status": 200, "requests": 12}],
}


class Server(httpx.MockTransport):
    """Two pages of one entry each, and one answer; remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        super().__init__(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(dict(request.url.params))
        if request.url.path.endswith("/answered"):
            return httpx.Response(200, json=ANSWER)
        first = "after" not in request.url.params
        item = ENTRY if first else {**ENTRY, "seq": 6}
        return httpx.Response(200, json={"items": [item], "next": "7" if first else None})


@pytest.fixture
def server() -> Server:
    return Server()


def client(server: Server) -> Client:
    return Client("http://tollway", "token", transport=server)


def test_entries_come_page_by_page_with_their_filters(server: Server) -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    with client(server) as one:
        found = list(one.audit.entries(kind="alias", key="risk/stable", start=start))

    assert [entry.seq for entry in found] == [7, 6]
    assert found[0].after == {"version": 2}
    assert server.asked[0] == {
        "kind": "alias",
        "key": "risk/stable",
        "from": "2026-11-01T00:00:00+00:00",
        "limit": "500",
    }


def test_a_limit_asks_for_no_more_pages(server: Server) -> None:
    with client(server) as one:
        assert [entry.seq for entry in one.audit.entries(limit=1)] == [7]
    assert [asked["limit"] for asked in server.asked] == ["1"]


def test_the_version_of_a_moment(server: Server) -> None:
    with client(server) as one:
        found = one.audit.answered("shop", "risk", datetime(2026, 11, 20, 14, 3, tzinfo=UTC))

    assert (found.routed.version, found.subscription.plan) == (2, "free")
    assert found.counted[0].requests == 12


def test_the_commands_print_tables_and_json(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*_: Any, **__: Any) -> Client:
        return client(server)

    monkeypatch.setattr("tollway.cli.audit.Client", made)
    run = CliRunner().invoke
    listed = run(app, ["audit", "--kind", "alias", "--from", "7d"])
    as_json = run(app, ["audit", "--json", "--limit", "1"])
    moment = run(app, ["audit", "answered", "shop", "risk", "2026-11-20T14:03:00Z"])

    assert listed.exit_code == as_json.exit_code == moment.exit_code == 0
    assert "alias.moved" in listed.stdout
    assert json.loads(as_json.stdout)[0]["after"] == {"version": 2}
    assert "12" in moment.stdout
