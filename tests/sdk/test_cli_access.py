"""Commands for those who may call: plans, keys, applications, consumers, subscriptions."""

import re

from tests.sdk.fake_server import FakeServer
from tests.sdk.running import Run


def test_a_plan_is_set_field_by_field_and_shown(run: Run, server: FakeServer) -> None:
    given = [
        "--title", "Gold", "--rate", "second=10/1s:5", "--rate", "hour=1000/1h",
        "--quota", "5000 rows/day", "--price", "0.50 eur", "--scope", "predict",
        "--approval", "publisher", "--fail-mode", "open", "--max-body-bytes", "4096",
        "--deadline-ms", "250",
    ]  # fmt: skip
    assert run("plans", "set", "gold", *given).code == 0
    assert run("plans", "set", "gold", "--quota", "none", "--scope", "none").code == 0

    assert server.plans["gold"] == {
        "name": "gold",
        "title": "Gold",
        "rates": [
            {"name": "second", "requests": 10, "window_s": 1, "burst": 5},
            {"name": "hour", "requests": 1000, "window_s": 3600, "burst": None},
        ],
        "quota": None,
        "scopes": None,
        "price_per_thousand": {"amount": "0.50", "currency": "EUR"},
        "approval": "publisher",
        "fail_mode": "open",
        "max_body_bytes": 4096,
        "deadline_ms": 250,
    }
    shown = run("plans", "show", "gold").out
    assert "second=10/1s:5, hour=1000/3600s" in shown
    assert re.search(r"deadline ms\s+250\n", shown)
    assert "0.50 EUR" in run("plans").out
    assert run("plans", "set", "gold", "--deadline-ms", "none").code == 0
    assert server.plans["gold"]["deadline_ms"] is None


def test_a_key_is_restricted_and_set_free_again(run: Run, server: FakeServer) -> None:
    server.add_version("m", {})
    run("keys", "create", "shop", "m", "--scope", "predict", "--only", "m", "--network", "::1")
    made = dict(server.keys["k1"])
    run("keys", "update", "k1", "--scope", "none", "--network", "none", "--expires", "none")

    assert (made["scopes"], made["models"], made["networks"]) == (["predict"], ["m"], ["::1"])
    assert (server.keys["k1"]["scopes"], server.keys["k1"]["networks"]) == (None, [])
    assert server.keys["k1"]["expires_at"] is None
    assert server.keys["k1"]["models"] == ["m"]


def test_a_rotation_prints_its_secret_and_until_when_the_old_one_works(
    run: Run, server: FakeServer
) -> None:
    server.add_version("m", {})
    run("keys", "create", "shop", "m")
    with_overlap = run("keys", "rotate", "k1", "--overlap", "1h")
    without = run("keys", "rotate", "k1", "--overlap", "0")

    assert "tw_live_newk1" in with_overlap.out
    assert "work until 2026-01-01" in with_overlap.err
    assert "have ended" in without.err


def test_an_application_takes_origins_and_loses_them(run: Run, server: FakeServer) -> None:
    run("apps", "create", "shop", "--origin", "https://a.example", "--origin", "https://b.example")
    assert server.applications["shop"]["origins"] == ["https://a.example", "https://b.example"]
    run("apps", "create", "shop", "--origin", "none")
    assert server.applications["shop"]["origins"] == []


def test_a_consumer_is_listed_with_its_applications_and_ended_with_them(
    run: Run, server: FakeServer
) -> None:
    assert run("consumers", "create", "acme", "--title", "Acme Ltd").out == "consumer acme\n"
    server.applications["shop"] = {"name": "shop", "consumer": "acme"}
    assert run("consumers").out.splitlines()[1].split("\t") == ["acme", "shop", "Acme Ltd"]
    assert "with its applications" in run("consumers", "delete", "acme", "--cascade").out
    [deletion] = server.asked("DELETE", "/api/v1/consumers/acme")
    assert deletion.url.params["cascade"] == "true"


def test_a_waiting_subscription_is_told_as_such(run: Run, server: FakeServer) -> None:
    place = {"application": "shop", "model": "m", "plan": "gold"}
    server.subscriptions["shop", "m"] = {**place, "state": "pending"}
    assert "waits for approval of plan gold" in run("apps", "subscribe", "shop", "m").out
    server.subscriptions["shop", "m"] = {**place, "requested_plan": "best"}
    assert "plan best waits for approval" in run("apps", "subscribe", "shop", "m").out
