"""Gateways x limits x windows x offered load: never more than the limit, never much less.

On a clock that the test sets: one gateway in memory and in Redis, three and five in Redis.
"""

import asyncio
import contextlib
import math

import pytest

from policies.limits import Limits
from policies.stores.base import ADMITTED, Counters
from protocol.configuration import PlanDoc, RateDoc
from tests.fixtures.redis import RedisServer
from tests.policies.stores.conftest import MemoryStore, RedisStore, Store, admitted, running

WINDOWS = 6
STEPS = 20
"""Moments in a window at which requests come."""
LOADS = (0.9, 1.0, 1.5, 2.0, 3.0)
RATES = (
    RateDoc(name="few a second", requests=7, window_s=1),
    RateDoc(name="many a second", requests=150, window_s=1),
    RateDoc(name="a minute", requests=60, window_s=60),
    RateDoc(name="an hour, paced", requests=100, window_s=3600, burst=10),
)


async def offered(
    store: Store, gateways: list[Counters], rate: RateDoc, load: float
) -> tuple[list[float], int]:
    """Offer ``load`` times the limit, evenly, to the gateways in turn. Returns the times of the
    admissions, and how many were offered."""
    limits = Limits(PlanDoc(name="p", rates=(rate,)))
    subscription = (f"shop-{load}", "iris")
    times: list[float] = []
    sent = 0
    for step in range(WINDOWS * STEPS):
        due = math.floor(rate.requests * load * (step + 1) / STEPS)
        asked = [
            gateways[number % len(gateways)].take(subscription, limits, 0.0)
            for number in range(sent, due)
        ]
        sent = max(sent, due)
        verdicts = [await admitted(one) for one in asked]
        times += [store.now] * sum(verdict.refused == ADMITTED for verdict in verdicts)
        await store.advance(rate.window_s / STEPS)
    return times, sent


def judge(times: list[float], sent: int, rate: RateDoc) -> None:
    for start in range(len(times) - rate.requests):
        assert times[start + rate.requests] - times[start] >= rate.window_s - 1e-6
    possible = min(sent, rate.requests * WINDOWS)
    assert 0.95 * possible <= len(times) <= possible


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: rate.name)
async def test_one_gateway_in_memory(rate: RateDoc) -> None:
    for load in LOADS:
        store = MemoryStore()
        judge(*await offered(store, [store.counters], rate, load), rate)


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: rate.name)
@pytest.mark.parametrize("gateways", [1, 3, 5])
async def test_gateways_that_share_a_redis(
    redis_server: RedisServer, gateways: int, rate: RateDoc
) -> None:
    redis_server.command("FLUSHALL")
    store = RedisStore(redis_server)
    async with contextlib.AsyncExitStack() as cleanup:
        all_ = [store.counters, *(store.another() for _ in range(gateways - 1))]
        for counters in all_:
            await cleanup.enter_async_context(running(counters))
        for load in LOADS:
            judge(*await offered(store, list(all_), rate, load), rate)
        await asyncio.sleep(0)
