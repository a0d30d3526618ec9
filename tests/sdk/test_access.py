"""Keys, applications and usage."""

import json
from datetime import UTC, datetime

import httpx
import pytest

import tollway
from tests.sdk.conftest import Clock
from tests.sdk.fake_server import FakeServer


@pytest.fixture(autouse=True)
def model(server: FakeServer) -> None:
    server.add_version("m", {})


def test_a_key_comes_with_its_application_and_subscription(
    client: tollway.Client, server: FakeServer
) -> None:
    key = client.create_key(application="web-shop", model="m")
    assert key.secret == "tw_live_abcd1"
    assert "web-shop" in server.applications
    assert server.subscriptions["web-shop", "m"]["plan"] == "unlimited"


def test_the_secret_is_in_no_repr(client: tollway.Client) -> None:
    key = client.create_key("web-shop", "m")
    assert key.secret not in repr(key)


def test_a_second_key_leaves_application_and_plan_alone(
    client: tollway.Client, server: FakeServer
) -> None:
    client.create_key("web-shop", "m", plan="gold")
    client.create_key("web-shop", "m")
    assert server.subscriptions["web-shop", "m"]["plan"] == "gold"
    assert len(server.asked("PUT", "/api/v1/applications/.*")) == 1
    client.create_key("web-shop", "m", plan="free")
    assert server.subscriptions["web-shop", "m"]["plan"] == "free"


def test_the_key_works_when_it_is_returned(
    client: tollway.Client, server: FakeServer, clock: Clock
) -> None:
    server.looks_until_key_known = 3
    client.create_key("web-shop", "m")
    assert len(server.asked("GET", "/v2/models/-/stats")) == 4
    assert clock.now > 0


def test_a_mistyped_model_leaves_no_application_behind(
    client: tollway.Client, server: FakeServer
) -> None:
    with pytest.raises(tollway.NotFoundError, match="there is no model 'mm'"):
        client.create_key("web-shop", "mm")
    assert not server.applications


def test_a_key_whose_answer_was_lost_is_not_made_twice(
    client: tollway.Client, server: FakeServer
) -> None:
    server.lose_answer("POST", "/api/v1/keys")
    with pytest.raises(tollway.ConnectionFailed):
        client.create_key("web-shop", "m")
    assert len(server.keys) == 1


def test_keys_are_listed_without_secrets_and_can_be_revoked(
    client: tollway.Client, server: FakeServer
) -> None:
    made = client.create_key("web-shop", "m", label="shop")
    client.revoke_key(made.id)
    (key,) = client.keys("web-shop")
    assert key.revoked_at is not None
    assert not hasattr(key, "secret")


@pytest.mark.parametrize("key_id", ["", "../keys", "a/b", "a?b"])
def test_an_id_that_is_none_never_becomes_a_path(
    client: tollway.Client, server: FakeServer, key_id: str
) -> None:
    with pytest.raises(tollway.InvalidRequestError, match="not a key's id"):
        client.revoke_key(key_id)
    assert not server.requests


def test_times_travel_in_utc(client: tollway.Client, server: FakeServer) -> None:
    client.usage(start=datetime(2026, 1, 2, 3, 4, tzinfo=UTC), by=["model"], step="hour")
    (request,) = server.asked("GET", "/api/v1/usage")
    expected = {"from": "2026-01-02T03:04:00Z", "by": "model", "step": "hour", "limit": "1000"}
    assert dict(httpx.QueryParams(request.url.query)) == expected


def test_a_rotation_returns_when_the_new_secret_works(
    client: tollway.Client, server: FakeServer
) -> None:
    made = client.create_key("web-shop", "m")
    server.looks_until_key_known = 2
    rotated = client.rotate_key(made.id, 60)

    assert (rotated.id, rotated.generation) == (made.id, 2)
    assert rotated.overlaps[0].generation == 1
    assert server.looks_until_key_known < 0


def test_a_rotation_whose_answer_was_lost_is_not_repeated(
    client: tollway.Client, server: FakeServer
) -> None:
    made = client.create_key("web-shop", "m")
    server.lose_answer("POST", f"/api/v1/keys/{made.id}/rotate")
    with pytest.raises(tollway.ConnectionFailed):
        client.rotate_key(made.id, 0)
    assert len(server.asked("POST", f"/api/v1/keys/{made.id}/rotate")) == 1


def test_an_update_sends_what_is_given_alone(client: tollway.Client, server: FakeServer) -> None:
    made = client.create_key("web-shop", "m", label="a", networks=["::1"])
    end = datetime(2030, 1, 1, tzinfo=UTC)
    client.update_key(made.id, networks=None, expires_at=end)

    (sent,) = server.asked("PATCH", ".*")
    assert json.loads(sent.content) == {"networks": None, "expires_at": "2030-01-01T00:00:00Z"}
    assert server.keys[made.id]["label"] == "a"


def test_a_plan_is_changed_on_what_is_there(client: tollway.Client, server: FakeServer) -> None:
    client.set_plan("gold", {"concurrency": 4, "quota": {"limit": 10}})
    plan = client.set_plan("gold", {"quota": None})

    assert (plan.concurrency, plan.quota) == (4, None)
    assert client.plan("gold") == plan
    with pytest.raises(tollway.InvalidRequestError, match="no field rate;"):
        client.set_plan("gold", {"rate": []})


def test_a_plan_that_somebody_else_changed_meanwhile_is_left_alone(
    client: tollway.Client, server: FakeServer
) -> None:
    client.set_plan("gold", {"concurrency": 4})

    def faster(request: httpx.Request) -> httpx.Response:
        server.requests_of_plans.append("gold")
        return server.handle(request)

    server.faults.append(("PUT", "/api/v1/plans/gold", faster))
    with pytest.raises(tollway.ConflictError):
        client.set_plan("gold", {"concurrency": 5})
    assert server.plans["gold"]["concurrency"] == 4


def test_a_refused_subscription_is_asked_for_again(
    client: tollway.Client, server: FakeServer
) -> None:
    server.subscriptions["web-shop", "m"] = {
        "application": "web-shop", "model": "m", "plan": "gold", "state": "refused",
    }  # fmt: skip
    client.subscribe("web-shop", "m", "gold")
    assert len(server.asked("PUT", "/api/v1/subscriptions/.*")) == 1
