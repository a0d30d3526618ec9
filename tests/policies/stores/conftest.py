"""Both stores on a clock that tests set, the Redis one over a real Redis and its own script."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Protocol

import pytest

from policies.limits import Limits
from policies.stores.base import Counters, Subscription, Used, Verdict
from policies.stores.memory import MemoryCounters
from policies.stores.redis import RedisCounters
from policies.stores.redis_connection import parse_address
from protocol.configuration import PlanDoc
from tests.fixtures.redis import RedisServer

NOON = 4_103_179_200.0
"""2100-01-09 12:00 UTC: ahead of the real clock, by which Redis drops keys that have expired."""
SHOP: Subscription = ("shop", "iris")
ONE: Used = (1, 1, 1_000)
_numbers = itertools.count()


class Store(Protocol):
    """A store and its clock."""

    counters: Counters
    now: float

    async def advance(self, seconds: float) -> None:
        """Let time pass."""


class MemoryStore:
    def __init__(self) -> None:
        self.now = NOON
        self.counters: Counters = MemoryCounters(now=lambda: self.now, monotonic=lambda: self.now)

    async def advance(self, seconds: float) -> None:
        self.now += seconds


class RedisStore:
    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._clock = f"test:clock:{next(_numbers)}"
        self.now = NOON
        self._set()
        self._all: list[RedisCounters] = []
        self.counters: RedisCounters = self.another()

    def another(self) -> RedisCounters:
        """Another gateway's counters in the same Redis, by the same clock."""
        built = RedisCounters(
            parse_address(self._server.url),
            timeout_s=5.0,
            clock=f"redis.call('LRANGE', '{self._clock}', 0, 1)",
        )
        self._all.append(built)
        return built

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        self._set()
        # What Redis' clock says is learned from its answers.
        limits = Limits(PlanDoc(name="none", concurrency=1))
        nobody = ("nobody", "nothing")
        for one in self._all:
            await admitted(one.take(nobody, limits, 0.0, charge=False))

    def _set(self) -> None:
        micros = round(self.now * 1e6)
        self._server.command("DEL", self._clock)
        self._server.command(
            "RPUSH", self._clock, str(micros // 1_000_000), str(micros % 1_000_000)
        )


async def admitted(found: Verdict | asyncio.Future[Verdict]) -> Verdict:
    """The verdict of either store."""
    return found if isinstance(found, Verdict) else await found


@contextlib.asynccontextmanager
async def running(counters: RedisCounters) -> AsyncIterator[RedisCounters]:
    task = asyncio.create_task(counters.run())
    try:
        async with asyncio.timeout(10):
            await counters.ready.wait()
        yield counters
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    built = RedisStore(server)
    async with running(built.counters):
        yield built
