"""How an installation is doing, from Python and from a shell."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

import tollway
from tollway.cli import operations as commands
from tollway.cli.app import app

AT = "2026-11-14T22:00:00.000Z"
FIGURES: dict[str, Any] = {
    "pid": 7, "memory_bytes": 4096, "restarts": 1, "load_ms": 80, "threads": 2, "queued": 3,
    "requests": 12, "requests_per_s": 1.5, "rows_per_s": 6.0, "busy": 0.25, "batching": False,
    "batching_cause": "graph", "batching_reason": "rows differ",
}  # fmt: skip
ENGINE: dict[str, Any] = {
    "model": "risk", "version": 3, "slot": 0, "address": "unix:/x", "state": "ready", "error": "",
    "figures": FIGURES,
}  # fmt: skip
WORKER: dict[str, Any] = {
    "id": "w1", "first_seen_at": AT, "seen_at": AT, "software": "1", "cores": 2,
    "available_bytes": 1, "engines": [ENGINE, ENGINE | {"slot": 1, "state": "loading",
                                                        "figures": None}],
}  # fmt: skip
GATEWAY: dict[str, Any] = {
    "id": "g1", "counters": "memory", "version": "1", "started_at": AT, "seen_at": AT,
    "position": 9, "lag": 2, "requests_per_s": 3.5, "in_flight": 4,
}  # fmt: skip
QUIET: dict[str, Any] = {
    "time": AT, "requests": 0, "errors": 0, "rows": 0, "p50_ms": None, "p99_ms": None,
    "queue_ms": 0.0, "compute_ms": 0.0, "counts": [0, 0, 0],
}  # fmt: skip
BUSY = QUIET | {"requests": 5, "errors": 1, "rows": 9, "p50_ms": 1.5, "p99_ms": 7.0,
                "queue_ms": 2.5, "compute_ms": 4.0, "counts": [1, 3, 1]}  # fmt: skip
CALLER = {"application": "shop", "model": "risk", "plan": "free", "limit": "rate", "requests": 4,
          "last_at": AT}  # fmt: skip
NONE_REFUSED = {"time": "2026-11-14T23:00:00.000Z", "rate": 0, "quota": 0, "concurrency": 0,
                "size": 0}  # fmt: skip
ANSWERS: dict[str, Any] = {
    "/gateways": {"items": [GATEWAY], "next": None},
    "/workers": {"items": [WORKER, WORKER | {"id": "w2", "engines": []}], "next": None},
    "/usage/latency": {"edges_ms": [1.0, 2.0], "minutes": 60, "items": [QUIET, BUSY]},
    "/usage/refusals": {
        "minutes": 60,
        "items": [{"time": AT, "rate": 4, "quota": 0, "concurrency": 0, "size": 0}, NONE_REFUSED],
        "callers": [CALLER],
    },
}
Asked = list[dict[str, str]]


def connected(asked: Asked) -> Callable[[], tollway.Client]:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        return httpx.Response(200, json=ANSWERS[request.url.path.removeprefix("/api/v1")])

    return lambda: tollway.Client("http://server", "token", transport=httpx.MockTransport(answer))


@pytest.fixture
def shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[list[str]]]:
    """Runs a command that succeeds, and gives the cells of its lines."""
    monkeypatch.setattr(commands, "Client", connected([]))

    def run(*arguments: str) -> list[list[str]]:
        with pytest.raises(SystemExit) as ended:
            app(list(arguments))
        assert ended.value.code == 0
        return [line.split("\t") for line in capsys.readouterr().out.splitlines()]

    return run


def test_latency_is_asked_for_by_span_and_by_what_narrows_it() -> None:
    asked: Asked = []
    report = connected(asked)().operations.latency(
        start=datetime(2026, 11, 14, tzinfo=UTC), model="risk", version=3, columns=2
    )
    assert asked == [
        {"from": "2026-11-14T00:00:00Z", "model": "risk", "version": "3", "columns": "2"}
    ]
    assert report.edges_ms == (1.0, 2.0)
    assert report.items[1].counts == (1, 3, 1)


def test_refusals_are_asked_for_by_span_and_by_what_narrows_it() -> None:
    asked: Asked = []
    report = connected(asked)().operations.refusals(
        end=datetime(2026, 11, 15, tzinfo=UTC), application="shop"
    )
    assert asked == [{"to": "2026-11-15T00:00:00Z", "application": "shop", "columns": "24"}]
    assert (report.callers[0].limit, report.items[0].rate) == ("rate", 4)


def test_gateways_and_workers_are_listed_by_the_client() -> None:
    client = connected([])()
    assert client.operations.gateways()[0].lag == 2
    first, second = client.operations.workers()
    assert [one.figures is None for one in first.engines] == [False, True]
    assert second.engines == ()


def test_the_latency_command_leaves_out_spans_in_which_nothing_came(
    shown: Callable[..., list[list[str]]],
) -> None:
    assert shown("latency")[1:] == [[AT, "5", "1", "9", "1.5", "7", "2.5", "4"]]


def test_the_refusals_command_shows_callers_or_time(
    shown: Callable[..., list[list[str]]],
) -> None:
    assert shown("refusals")[1:] == [["shop", "risk", "free", "rate", "4", AT]]
    assert shown("refusals", "--by-time")[1:] == [[AT, "4", "0", "0", "0"]]


def test_the_gateways_command_shows_how_far_behind_they_are(
    shown: Callable[..., list[list[str]]],
) -> None:
    heads, values = shown("gateways")
    assert dict(zip(heads, values, strict=True))["lag"] == "2"


def test_the_workers_command_shows_every_engine_and_workers_without_one(
    shown: Callable[..., list[list[str]]],
) -> None:
    heads, *lines = shown("workers")
    told = [dict(zip(heads, line, strict=True)) for line in lines]
    assert [(one["worker"], one["slot"], one["busy"]) for one in told] == [
        ("w1", "0", "0.25"), ("w1", "1", "-"), ("w2", "-", "-"),
    ]  # fmt: skip
    assert len(shown("workers", "--model", "other")) == 1


@pytest.mark.parametrize("command", ["latency", "refusals", "gateways", "workers"])
def test_programs_get_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setattr(commands, "Client", connected([]))
    with pytest.raises(SystemExit):
        app([command, "--json"])
    found = json.loads(capsys.readouterr().out)
    answer = next(value for path, value in ANSWERS.items() if path.endswith(command))
    assert found == (answer if "minutes" in answer else answer["items"])


def test_a_span_that_is_no_time_is_a_wrong_command() -> None:
    with pytest.raises(SystemExit) as ended:
        app(["latency", "--from", "yesterday"])
    assert ended.value.code == 2
