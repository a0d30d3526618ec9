"""What is taken back in one place is refused by every gateway within a second."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.gateways import MoreGateways
from tests.e2e.models import AFFINE_REQUEST, affine
from tests.e2e.stack import RunningStack, eventually
from tests.fixtures.redis import RedisServer

INFER = "/v2/models/affine/infer"
WITHIN_S = 1.0
GIVE_UP_S = 15.0
POLL_S = 0.005
STAYS = 20
"""Calls after the first refusal that must be refused as well."""


class Installation:
    """Three gateways before one control and one worker, and an application that calls."""

    def __init__(self, api: httpx.Client, urls: list[str]) -> None:
        self.urls = urls
        self.api = api
        self.key: dict[str, Any] = {}

    def admin(self, method: str, path: str, **content: Any) -> httpx.Response:
        """A management request, which must succeed."""
        answer = self.api.request(method, f"/api/v1{path}", **content)
        assert answer.is_success, answer.text
        return answer

    def prepare(self) -> None:
        """A key that every gateway takes."""
        self.admin("PUT", "/plans/trial", json={})
        self.admin("PUT", "/applications/shop", json={})
        self.admin("PUT", "/subscriptions/shop/affine", json={"plan": "trial"})
        self.key = self.admin("POST", "/keys", json={"application": "shop"}).json()
        for url in self.urls:
            with self.caller(url) as caller:
                eventually(lambda caller=caller: status(caller) == 200)

    def caller(self, url: str) -> httpx.Client:
        """A client with the key."""
        headers = {"X-API-Key": self.key["secret"]}
        return httpx.Client(base_url=url, headers=headers, timeout=10, trust_env=False)

    def seconds_until(self, expected: int, change: Callable[[], object]) -> list[float]:
        """How long after the request for ``change`` was sent each gateway took to answer with
        ``expected``, and with that alone from then on."""
        took: list[float] = []
        warm = threading.Barrier(len(self.urls) + 1)
        begun = threading.Event()
        start = 0.0

        def poll(url: str) -> None:
            with self.caller(url) as caller:
                status(caller)
                warm.wait()
                begun.wait()
                deadline = start + GIVE_UP_S
                while status(caller) != expected:
                    assert time.monotonic() < deadline
                    time.sleep(POLL_S)
                seconds = time.monotonic() - start
                if all(status(caller) == expected for _ in range(STAYS)):
                    took.append(seconds)

        pollers = [threading.Thread(target=poll, args=[url]) for url in self.urls]
        for poller in pollers:
            poller.start()
        warm.wait()
        start = time.monotonic()
        begun.set()
        change()
        for poller in pollers:
            poller.join()
        assert len(took) == len(self.urls), "a gateway did not keep to the change"
        return took


def status(caller: httpx.Client) -> int:
    return caller.post(INFER, json=AFFINE_REQUEST).status_code


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[Installation]:
    folder: Path = tmp_path_factory.mktemp("several")
    counters = {"TOLLWAY_COUNTERS": "redis", "TOLLWAY_REDIS_URL": redis_server.url}
    with RunningStack(folder / "data", settings=counters) as stack:
        with stack.client() as client:
            client.deploy(affine(), name="affine")
        with MoreGateways(stack, folder, 2) as more, stack.api() as api:
            yield Installation(api, [stack.url, *more.urls])


@pytest.fixture
def installation(running: Installation) -> Installation:
    running.prepare()
    return running


def test_a_revoked_key_is_refused_by_every_gateway(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"/keys/{installation.key['id']}/revoke"
    took = installation.seconds_until(401, lambda: installation.admin("POST", path))
    report(capsys, "revocation", took)


def test_a_removed_subscription_is_felt_at_every_gateway(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/subscriptions/shop/affine"
    took = installation.seconds_until(403, lambda: installation.admin("DELETE", path))
    report(capsys, "subscription removed", took)


def test_a_plan_that_allows_less_or_more_holds_at_every_gateway(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, terms, expected in (
        ("plan without the scope", {"scopes": ["metadata"]}, 403),
        ("plan with it again", {}, 200),
        ("plan of smaller bodies", {"max_body_bytes": 10}, 413),
        (
            "plan of fewer requests",
            {"rates": [{"name": "m", "requests": 1, "window_s": 3600}]},
            429,
        ),
        ("plan without the throttle", {}, 200),
    ):
        took = installation.seconds_until(
            expected, lambda terms=terms: installation.admin("PUT", "/plans/trial", json=terms)
        )
        report(capsys, name, took)


def test_a_subscription_to_a_larger_plan_lifts_a_throttle(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"rates": [{"name": "h", "requests": 1, "window_s": 3600}]}
    path = "/subscriptions/shop/affine"
    installation.admin("PUT", "/plans/small", json=small)
    for plan, expected in (("small", 429), ("unlimited", 200)):
        took = installation.seconds_until(
            expected, lambda plan=plan: installation.admin("PUT", path, json={"plan": plan})
        )
        report(capsys, f"subscription moved to plan '{plan}'", took)


def report(capsys: pytest.CaptureFixture[str], change: str, took: list[float]) -> None:
    with capsys.disabled():
        times = ", ".join(f"{seconds * 1000:.0f}" for seconds in took)
        print(f"\n{change}: in force on {len(took)} gateways after {times} ms")  # noqa: T201
    assert max(took) < WITHIN_S
