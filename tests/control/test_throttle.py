"""The management API answers 429 to who asks too often, by address, by user and by name."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from control.app import create_app
from control.identity.throttle import Throttle, TooManyRequests
from control.settings import ControlSettings
from tests.control.accounts import make, session
from tests.control.running import Control, FakeClock, connect


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'tollway.db'}"


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    """Limits that a test reaches."""
    return settings.model_copy(
        update={
            "rate_login": "4/hour",
            "rate_login_name": "2/hour",
            "rate_sign_up": "1/hour",
            "rate_credentials": "2/hour",
            "rate_user": "20/hour",
            "rate_address": "40/hour",
        }
    )


async def statuses(control: Control, *attempts: tuple[str, str]) -> list[int]:
    found = []
    for name, address in attempts:
        answer = await control.anonymous.post(
            "/api/v1/sessions",
            json={"name": name, "password": "wrong wrong wrong"},
            headers={"X-Forwarded-For": address},
        )
        found.append(answer.status_code)
    return found


async def test_logins_are_limited_by_the_address_that_the_gateway_saw(control: Control) -> None:
    attempts = [(f"user{index}", "192.0.2.1") for index in range(5)]

    assert await statuses(control, *attempts) == [401, 401, 401, 401, 429]
    assert await statuses(control, ("user9", "192.0.2.2")) == [401]


async def test_logins_are_limited_by_the_name_that_is_tried(control: Control) -> None:
    attempts = [("ann", f"192.0.2.{index}") for index in range(3)]

    assert await statuses(control, *attempts) == [401, 401, 429]


async def test_the_old_password_cannot_be_guessed_by_changing_it(control: Control) -> None:
    await make(control, "ann")
    guess = {"old": "wrong wrong wrong", "new": "another fine password"}
    async with await session(control, "ann") as ann:  # the first of two tries of the name
        answers = [await ann.put("/api/v1/users/me/password", json=guess) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [403, 429]


async def test_addresses_of_one_ipv6_network_are_one(control: Control) -> None:
    attempts = [(f"user{index}", f"2001:db8::{index}") for index in range(5)]

    assert (await statuses(control, *attempts))[-1] == 429


async def test_a_refusal_says_which_limit_it_is_and_when_to_come_back(control: Control) -> None:
    body = {"name": "newcomer", "password": "correct horse battery"}
    await control.anonymous.post("/api/v1/signup", json=body)
    answer = await control.anonymous.post("/api/v1/signup", json=body)

    assert answer.status_code == 429
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "rate_limited"
    wait = int(answer.headers["Retry-After"])
    assert 3590 <= wait <= 3600
    assert answer.headers["RateLimit-Policy"] == '"signup";q=1;w=3600'
    assert answer.headers["RateLimit"] == f'"signup";r=0;t={wait}'


async def test_keys_and_tokens_are_limited_together_by_user(control: Control) -> None:
    await make(control, "ann")
    async with await session(control, "ann") as ann:
        ann.headers["X-Forwarded-For"] = "192.0.2.7"
        made = [(await ann.post("/api/v1/tokens", json={})).status_code for _ in range(2)]
        assert made == [201, 201]
        ann.headers["X-Forwarded-For"] = "192.0.2.8"
        assert (await ann.post("/api/v1/keys", json={})).status_code == 429


async def test_everything_is_limited_by_user_and_by_address(control: Control) -> None:
    for index in range(20):
        headers = {"X-Forwarded-For": f"192.0.2.{index}"}
        assert (await control.admin.get("/api/v1/plans", headers=headers)).status_code == 200
    refused = await control.admin.get("/api/v1/plans")
    assert refused.headers["RateLimit-Policy"] == '"user";q=20;w=3600'

    headers = {"X-Forwarded-For": "192.0.2.99"}
    for _ in range(40):
        answer = await control.anonymous.get("/api/v1/plans", headers=headers)
        assert answer.status_code == 401
    answer = await control.anonymous.get("/api/v1/plans", headers=headers)
    assert answer.headers["RateLimit-Policy"] == '"address";q=40;w=3600'


async def test_the_roles_among_themselves_are_not_limited(control: Control) -> None:
    for _ in range(60):
        assert (await control.cluster.get("/internal/v1/changes")).status_code == 200
        assert (await control.anonymous.get("/healthz")).status_code == 200


@pytest.fixture
async def unlimited(
    settings: ControlSettings, clock: FakeClock
) -> AsyncIterator[httpx.AsyncClient]:
    none = dict.fromkeys(("rate_login", "rate_login_name", "rate_user", "rate_address"), "")
    app = create_app(settings.model_copy(update=none), clock=clock)
    async with connect(app, None) as client:
        yield client
    app.state.services.database.close()


async def test_an_empty_setting_is_no_limit(unlimited: httpx.AsyncClient) -> None:
    for _ in range(45):
        assert (await unlimited.get("/api/v1/plans")).status_code == 401


def test_a_setting_that_is_no_limit_ends_the_start() -> None:
    with pytest.raises(ValueError, match="often"):
        Throttle(ControlSettings(rate_login="often"))


def test_a_refused_request_does_not_use_up_the_wider_limit() -> None:
    throttle = Throttle(ControlSettings(rate_sign_up="1/hour", rate_address="2/hour"))
    throttle.check("address", "POST", "/api/v1/signup", "192.0.2.1")
    for _ in range(3):
        with pytest.raises(TooManyRequests, match="signup"):
            throttle.check("address", "POST", "/api/v1/signup", "192.0.2.1")
    throttle.check("address", "GET", "/api/v1/plans", "192.0.2.1")
    with pytest.raises(TooManyRequests, match="address"):
        throttle.check("address", "GET", "/api/v1/plans", "192.0.2.1")
