"""Redis stopped, and Redis frozen: nobody waits for longer than the timeout, and it heals."""

import asyncio
import re
import time

import pytest

from policies.base import Call, Identity
from policies.limits import Limits
from policies.plan_limits import PlanLimitsPolicy
from policies.plans import Plans
from policies.stores.base import ADMITTED, NOTHING, UNREACHABLE, Verdict
from policies.stores.redis import RedisCounters
from policies.stores.redis_connection import parse_address
from protocol.configuration import PlanDoc, RateDoc
from protocol.errors import Code, TollwayError
from tests.fixtures.redis import RedisServer
from tests.policies.stores.conftest import ONE, SHOP, admitted, running

TIMEOUT_S = 0.05
SPARE_S = 0.1
"""For a machine on which other tests run."""
PLAN = PlanDoc(name="p", rates=(RateDoc(name="burst", requests=1000, window_s=60),), concurrency=50)
LIMITS = Limits(PLAN)


def soon(seconds: float = 30.0) -> float:
    return time.monotonic() + seconds


def counters(server: RedisServer) -> RedisCounters:
    return RedisCounters(parse_address(server.url), timeout_s=TIMEOUT_S)


async def timed(store: RedisCounters) -> tuple[int, float]:
    began = time.monotonic()
    verdict = await admitted(store.take(SHOP, LIMITS, soon()))
    return verdict.refused, time.monotonic() - began


async def recovers(store: RedisCounters) -> Verdict:
    async with asyncio.timeout(10):
        await store.ready.wait()
        while (verdict := await admitted(store.take(SHOP, LIMITS, soon()))).refused != ADMITTED:
            await store.ready.wait()
        return verdict


@pytest.mark.parametrize("how", ["freeze", "stop"])
async def test_the_fail_mode_applies_in_time_and_the_breaker_heals(
    own_redis: RedisServer, how: str
) -> None:
    async with running(counters(own_redis)) as store:
        assert (await recovers(store)).refused == ADMITTED
        getattr(own_redis, how)()
        found = await asyncio.gather(*(timed(store) for _ in range(50)))
        assert {refused for refused, _ in found} == {UNREACHABLE}
        assert max(took for _, took in found) < TIMEOUT_S + SPARE_S
        # The breaker is open: nobody waits at all, not even for a turn of the loop.
        assert isinstance(store.take(SHOP, LIMITS, soon()), Verdict)
        if how == "freeze":
            own_redis.thaw()
        else:
            own_redis.start()
        assert (await recovers(store)).refused == ADMITTED


async def test_calls_given_up_while_redis_was_frozen_are_not_charged_afterwards(
    own_redis: RedisServer,
) -> None:
    async with running(counters(own_redis)) as store:
        first = await recovers(store)
        store.settle(first, NOTHING)
        own_redis.freeze()
        given_up = [store.take(SHOP, LIMITS, soon()) for _ in range(20)]
        assert all([(await admitted(one)).refused == UNREACHABLE for one in given_up])
        await asyncio.sleep(0.3)  # by Redis' clock they are late now
        own_redis.thaw()
        last = await recovers(store)
        # One before, one now; concurrency: only the one now.
        assert last.numbers == (998, last.numbers[1], 49)


async def test_a_redis_that_was_never_there_is_found_when_it_comes(own_redis: RedisServer) -> None:
    own_redis.stop()
    store = counters(own_redis)
    task = asyncio.create_task(store.run())
    await asyncio.sleep(0.05)
    assert (await timed(store))[0] == UNREACHABLE
    own_redis.start()
    assert (await recovers(store)).refused == ADMITTED
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_redis_that_forgets_its_scripts_is_told_them_again(
    own_redis: RedisServer,
) -> None:
    async with running(counters(own_redis)) as store:
        own_redis.command("SCRIPT", "FLUSH")
        verdicts = [store.take(SHOP, LIMITS, soon()) for _ in range(5)]
        found = [await admitted(verdict) for verdict in verdicts]
        assert [verdict.refused for verdict in found] == [ADMITTED] * 5
        own_redis.command("SCRIPT", "FLUSH")
        for verdict in found:
            store.settle(verdict, ONE)
        last = await admitted(store.take(SHOP, LIMITS, soon()))
        assert last.numbers[2] == 49


async def test_a_redis_that_takes_no_writes_counts_as_one_that_does_not_answer(
    own_redis: RedisServer,
) -> None:
    async with running(counters(own_redis)) as store:
        own_redis.command("REPLICAOF", "127.0.0.1", "1")
        assert (await timed(store))[0] == UNREACHABLE
        await asyncio.sleep(0.05)
        assert isinstance(store.take(SHOP, LIMITS, soon()), Verdict)
        own_redis.command("REPLICAOF", "NO", "ONE")
        assert (await recovers(store)).refused == ADMITTED


async def test_the_requests_of_one_tick_are_one_round_trip(redis_server: RedisServer) -> None:
    async with running(RedisCounters(parse_address(redis_server.url), timeout_s=5)) as store:
        before = store.round_trips
        verdicts = [store.take(SHOP, LIMITS, soon()) for _ in range(40)]
        found = [await admitted(verdict) for verdict in verdicts]
        assert store.round_trips - before == 1
        for verdict in found:
            store.settle(verdict, ONE)
        await admitted(store.take(SHOP, LIMITS, soon()))
        assert store.round_trips - before == 2  # settlements have ridden along


async def test_a_dead_gateways_places_come_back_when_its_requests_are_over(
    redis_server: RedisServer,
) -> None:
    limits = Limits(PlanDoc(name="p", concurrency=3))
    subscription = ("shop", "leases")
    async with running(RedisCounters(parse_address(redis_server.url), timeout_s=5)) as dead:
        for _ in range(3):
            verdict = await admitted(dead.take(subscription, limits, soon(-0.7)))
            assert verdict.refused == ADMITTED
    async with running(RedisCounters(parse_address(redis_server.url), timeout_s=5)) as store:
        assert (await admitted(store.take(subscription, limits, soon()))).refused == 0
        async with asyncio.timeout(5):
            while (  # noqa: ASYNC110 -- Redis' clock
                await admitted(store.take(subscription, limits, soon()))
            ).refused != ADMITTED:
                await asyncio.sleep(0.02)


async def test_keys_expire_and_hold_no_secrets(redis_server: RedisServer) -> None:
    redis_server.command("FLUSHALL")
    limits = Limits(
        PlanDoc(
            name="p",
            rates=(RateDoc(name="r", requests=10, window_s=60, burst=2),),
            concurrency=3,
        )
    )
    async with running(RedisCounters(parse_address(redis_server.url), timeout_s=5)) as store:
        verdict = await admitted(store.take(SHOP, limits, soon()))
        store.settle(verdict, ONE)
        await admitted(store.take(SHOP, limits, soon()))
    keys = redis_server.command("KEYS", "*").decode().split("\r\n")[2::2]
    assert sorted(re.sub("counted:[0-9a-f]{12}$", "counted:GATEWAY", key) for key in keys) == [
        "tollway:probe",
        "tollway:{shop/iris}:counted:GATEWAY",
        "tollway:{shop/iris}:leases",
        "tollway:{shop/iris}:pace:60:10:2",
        "tollway:{shop/iris}:used",
        "tollway:{shop/iris}:window:60",
    ]
    for key in keys:
        assert 0 < int(redis_server.command("PTTL", key)[1:]) < 63 * 86_400_000


@pytest.mark.parametrize("open_", [True, False])
async def test_the_plan_says_what_happens_while_nothing_can_be_counted(open_: bool) -> None:
    store = RedisCounters(parse_address("redis://127.0.0.1:1/0"))
    policy = PlanLimitsPolicy(store, Plans(), now=time.time)
    plan = PlanDoc(name="p", rates=PLAN.rates, fail_open=open_)
    call = Call(model="iris", identity=Identity(key="k", application="shop"), plan=Limits(plan))
    if open_:
        assert policy.check(call) is None
    else:
        with pytest.raises(TollwayError) as refused:
            policy.check(call)
        assert (refused.value.code, refused.value.retry_after_s) == (Code.UNAVAILABLE, 1)
    assert policy.uncounted == {"open": int(open_), "closed": int(not open_)}
    policy.settle(call, 200, 1, 1)
    assert [name for name, _ in policy.headers(call)] == [b"ratelimit-policy"]


@pytest.mark.parametrize("url", ["http://x", "redis://u:hunter2@h:port/0", "nonsense hunter2"])
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="is not a redis") as refused:
        parse_address(url)
    assert "hunter2" not in str(refused.value)


def test_an_address_is_shown_without_credentials() -> None:
    address = parse_address("rediss://user:hunter2@redis.internal:6380/3")
    assert address.tls is not None
    assert address.shown == "redis://redis.internal:6380/3"
    assert (address.username, address.password) == ("user", "hunter2")
    assert "hunter2" not in repr(address)
