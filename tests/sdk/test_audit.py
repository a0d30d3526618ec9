"""The audit log from Python and from a shell."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tollway import Client, TimedOut
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
STANDING: dict[str, Any] = {
    "entries": 7, "hash": "00", "checkpoint": None, "ok": True,
    "verified_at": "2026-11-19T00:00:00.000Z", "verified_entries": 7, "findings": [],
    "further_findings": 0, "running": None,
}  # fmt: skip
"""Before a verification is asked for."""


class Server(httpx.MockTransport):
    """Two pages of one entry each, and one answer; remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.began = False
        self.looks_until_verified = 0
        self.found: dict[str, Any] = {"ok": True, "findings": []}
        super().__init__(self._answer)

    def _standing(self) -> dict[str, Any]:
        if not self.began:
            return STANDING
        if self.looks_until_verified:
            self.looks_until_verified -= 1
            return STANDING | {"running": {"began_at": "x", "checked": 1, "entries": 7}}
        return STANDING | self.found | {"verified_at": "2026-11-20T14:04:00.000Z"}

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(dict(request.url.params))
        match request.method, request.url.path.removeprefix("/api/v1/audit"):
            case _, "/answered":
                return httpx.Response(200, json=ANSWER)
            case _, "/entries/7":
                return httpx.Response(200, json=ENTRY)
            case "POST", "/verify":
                self.began = True
                return httpx.Response(202, json=STANDING)
            case "GET", "/verify":
                return httpx.Response(200, json=self._standing())
        first = "after" not in request.url.params
        item = ENTRY if first else {**ENTRY, "seq": 6}
        return httpx.Response(200, json={"items": [item], "next": "7" if first else None})


@pytest.fixture
def server() -> Server:
    return Server()


def client(server: Server) -> Client:
    return Client("http://tollway", "token", transport=server, sleep=lambda _: None)


@pytest.fixture
def run(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs ``tollway audit`` on the server."""

    def made(*_: Any, **__: Any) -> Client:
        return client(server)

    monkeypatch.setattr("tollway.cli.audit.Client", made)
    return lambda *arguments: CliRunner().invoke(app, ["audit", *arguments])


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


def test_a_text_is_searched_for_in_whole_entries(server: Server) -> None:
    with client(server) as one:
        assert len(list(one.audit.entries(search="ticket 7", limit=1))) == 1
    assert server.asked == [{"search": "ticket 7", "limit": "1"}]


def test_a_verification_is_waited_for(server: Server) -> None:
    server.looks_until_verified = 3
    with client(server) as one:
        found = one.audit.verify()
    assert (found.ok, found.running, found.verified_at) == (True, None, "2026-11-20T14:04:00.000Z")


def test_a_verification_that_takes_too_long_is_told_as_such(server: Server) -> None:
    server.looks_until_verified = 9
    with client(server) as one, pytest.raises(TimedOut, match="not verified after 0 s"):
        one.audit.verify(timeout_s=0)


def test_the_commands_print_tables_and_json(run: Callable[..., Result]) -> None:
    listed = run("--kind", "alias", "--from", "7d")
    as_json = run("--json", "--limit", "1")
    moment = run("answered", "shop", "risk", "2026-11-20T14:03:00Z")

    assert listed.exit_code == as_json.exit_code == moment.exit_code == 0
    assert "alias.moved" in listed.stdout
    assert json.loads(as_json.stdout)[0]["after"] == {"version": 2}
    assert "12" in moment.stdout


def test_an_entry_is_shown_with_the_fields_that_it_changed(run: Callable[..., Result]) -> None:
    shown = run("show", "7")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[-1].split("\t") == ["version", "1", "2"]
    assert "ticket 7" in shown.stdout


def test_the_verification_of_a_log_as_it_was_recorded_succeeds(run: Callable[..., Result]) -> None:
    ended = run("verify")
    assert (ended.exit_code, ended.stdout) == (0, "OK: 7 entries are as they were recorded\n")


def test_the_verification_of_a_changed_log_fails_and_says_where(
    server: Server, run: Callable[..., Result]
) -> None:
    finding = {"seq": 5, "problem": "edited", "detail": "another hash"}
    server.found = {"ok": False, "findings": [finding], "further_findings": 2}
    ended = run("verify")
    assert ended.exit_code == 1
    assert ended.stdout.splitlines()[1:] == ["5\tedited\tanother hash", "2 more findings"]
    server.began = False
    assert json.loads(run("verify", "--json").stdout)["ok"] is False
