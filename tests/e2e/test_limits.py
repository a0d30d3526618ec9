"""Limits over real gateway processes and a real Redis."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.gateways import MoreGateways
from tests.e2e.models import affine
from tests.e2e.stack import RunningStack, eventually
from tests.e2e.test_three_gateways import Installation, status
from tests.fixtures.redis import RedisServer

REQUESTS = 30
WINDOW_S = 2
WINDOWS = 3


@pytest.fixture
def installation(tmp_path: Path, own_redis: RedisServer) -> Iterator[Installation]:
    counters = {
        "TOLLWAY_COUNTERS": "redis",
        "TOLLWAY_REDIS_URL": own_redis.url,
        # A busy machine is not what is tested here.
        "TOLLWAY_REDIS_TIMEOUT_MS": "5000",
    }
    with RunningStack(tmp_path / "data", settings=counters) as stack:
        with stack.client() as client:
            client.deploy(affine(), name="affine")
        with MoreGateways(stack, tmp_path, 2) as more, stack.api() as api:
            built = Installation(api, [stack.url, *more.urls])
            built.prepare()
            yield built


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
