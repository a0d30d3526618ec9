"""Three gateway processes over one Redis: they admit together what a plan allows, and what is taken
back in one place is refused by every one of them within a second. ``pytest -s`` shows the times.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.gateways import MoreGateways, refused_gateway
from tests.e2e.models import AFFINE_REQUEST, affine
from tests.e2e.stack import RunningStack, eventually
from tests.fixtures.redis import RedisServer

INFER = "/v2/models/affine/infer"
WITHIN_S = 1.0
GIVE_UP_S = 15.0
POLL_S = 0.02
STAYS = 20
"""Calls after the first refusal that must be refused as well."""
REQUESTS = 30
WINDOW_S = 2
WINDOWS = 3


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
        self.known_everywhere(self.key["secret"])

    def known_everywhere(self, secret: str) -> None:
        """Return when every gateway takes the credential."""
        for url in self.urls:
            with self.caller(url, secret) as caller:
                eventually(lambda caller=caller: status(caller) == 200)

    def caller(self, url: str, secret: str | None = None) -> httpx.Client:
        """A client with this credential, or else the key."""
        headers = {"X-API-Key": secret or self.key["secret"]}
        return httpx.Client(base_url=url, headers=headers, timeout=10, trust_env=False)

    def seconds_until(
        self, expected: int, change: Callable[[], object], *, secret: str | None = None
    ) -> list[float]:
        """How long after the request for ``change`` was sent each gateway took to answer with
        ``expected``, and with that alone from then on."""
        took: list[float] = []
        warm = threading.Barrier(len(self.urls) + 1)
        begun = threading.Event()
        start = 0.0

        def poll(url: str) -> None:
            with self.caller(url, secret) as caller:
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
def stack(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[RunningStack]:
    counters = {
        "TOLLWAY_COUNTERS": "redis",
        "TOLLWAY_REDIS_URL": redis_server.url,
        # A busy machine is not what is tested here.
        "TOLLWAY_REDIS_TIMEOUT_MS": "5000",
    }
    with RunningStack(tmp_path_factory.mktemp("several") / "data", settings=counters) as built:
        yield built


@pytest.fixture(scope="module")
def running(
    stack: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    with stack.client() as client:
        client.deploy(affine(), name="affine")
    folder = tmp_path_factory.mktemp("more")
    with MoreGateways(stack, folder, 2) as more, stack.api() as api:
        yield Installation(api, [stack.url, *more.urls])


@pytest.fixture
def installation(running: Installation) -> Installation:
    running.prepare()
    return running


def test_a_revoked_key_is_refused_by_every_gateway(
    installation: Installation,
) -> None:
    path = f"/keys/{installation.key['id']}/revoke"
    took = installation.seconds_until(401, lambda: installation.admin("POST", path))
    report("revocation", took)


def test_a_key_that_was_rotated_without_overlap_is_refused_by_every_gateway(
    installation: Installation,
) -> None:
    path = f"/keys/{installation.key['id']}/rotate"
    took = installation.seconds_until(
        401, lambda: installation.admin("POST", path, json={"overlap_s": 0})
    )
    report("rotation without overlap", took)


def test_a_key_restricted_to_another_model_is_refused_by_every_gateway(
    installation: Installation,
) -> None:
    installation.admin("PUT", "/models/another")
    path = f"/keys/{installation.key['id']}"
    took = installation.seconds_until(
        403, lambda: installation.admin("PATCH", path, json={"models": ["another"]})
    )
    report("restriction to another model", took)


def test_the_keys_of_a_deleted_application_are_refused_by_every_gateway(
    installation: Installation,
) -> None:
    took = installation.seconds_until(
        401, lambda: installation.admin("DELETE", "/applications/shop")
    )
    report("application deleted", took)


def test_a_users_revoked_token_is_refused_by_every_gateway(installation: Installation) -> None:
    made = users_token(installation)
    path = f"/tokens/{made['id']}/revoke"
    took = installation.seconds_until(
        401, lambda: installation.admin("POST", path), secret=made["secret"]
    )
    report("user's token revoked", took)


def users_token(installation: Installation) -> dict[str, Any]:
    """A personal token of an administrator, which every gateway takes."""
    password = "correct-horse-battery-staple"
    installation.admin("PUT", "/users/ada", json={"role": "admin", "password": password})
    with httpx.Client(base_url=f"{installation.urls[0]}/api/v1", trust_env=False) as anybody:
        login = anybody.post("/sessions", json={"name": "ada", "password": password})
        session = {"Authorization": f"Bearer {login.json()['secret']}"}
        made: dict[str, Any] = anybody.post("/tokens", json={}, headers=session).json()
    installation.known_everywhere(made["secret"])
    return made


def test_gateways_on_one_redis_run_together_and_none_beside_them_that_counts_elsewhere(
    running: Installation, stack: RunningStack, tmp_path: Path
) -> None:
    items = running.admin("GET", "/gateways").json()["items"]
    assert len(items) == len(running.urls)
    for settings in (
        {"TOLLWAY_COUNTERS": "memory"},
        {"TOLLWAY_REDIS_URL": "redis://127.0.0.1:1/0"},
    ):
        said = refused_gateway(stack, tmp_path / "another", settings)
        assert said.count("\n") == 1
        assert said.startswith("tollwayd: gateway '")
        assert "limits would not hold" in said


def test_a_removed_subscription_is_felt_at_every_gateway(
    installation: Installation,
) -> None:
    path = "/subscriptions/shop/affine"
    took = installation.seconds_until(403, lambda: installation.admin("DELETE", path))
    report("subscription removed", took)


def test_a_plan_that_allows_less_or_more_holds_at_every_gateway(
    installation: Installation,
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
        report(name, took)


def test_a_subscription_to_a_larger_plan_lifts_a_throttle(
    installation: Installation,
) -> None:
    small = {"rates": [{"name": "h", "requests": 1, "window_s": 3600}]}
    path = "/subscriptions/shop/affine"
    installation.admin("PUT", "/plans/small", json=small)
    for plan, expected in (("small", 429), ("unlimited", 200)):
        took = installation.seconds_until(
            expected, lambda plan=plan: installation.admin("PUT", path, json={"plan": plan})
        )
        report(f"subscription moved to plan '{plan}'", took)


def test_three_gateways_admit_together_what_the_plan_allows(installation: Installation) -> None:
    rate = {"name": "burst", "requests": REQUESTS, "window_s": WINDOW_S}
    installation.admin("PUT", "/plans/small", json={"rates": [rate]})
    installation.admin("PUT", "/subscriptions/shop/affine", json={"plan": "small"})
    for url in installation.urls:
        with installation.caller(url) as caller:
            eventually(lambda caller=caller: status(caller) == 429)
    time.sleep(WINDOW_S)  # Redis' own clock: the window is empty now
    answers: Counter[int] = Counter()
    began = time.monotonic()

    def offer(url: str) -> None:
        with installation.caller(url) as caller:
            while time.monotonic() < began + WINDOWS * WINDOW_S - 0.2:
                answers[status(caller)] += 1

    callers = [threading.Thread(target=offer, args=[url]) for url in installation.urls]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    assert set(answers) == {200, 429}
    assert sum(answers.values()) > 2 * REQUESTS * WINDOWS
    assert 0.95 * REQUESTS * WINDOWS <= answers[200] <= REQUESTS * WINDOWS


def report(change: str, took: list[float]) -> None:
    """Show the figures (``pytest -s``), and hold them against what is promised."""
    times = ", ".join(f"{seconds * 1000:.0f}" for seconds in took)
    print(f"{change}: in force on {len(took)} gateways after {times} ms")  # noqa: T201
    assert max(took) < WITHIN_S
