"""A version's counts only grow, whatever becomes of its engines."""

import random
from pathlib import Path

import httpx
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.app import Gateway
from gateway.counts import MOST_GONE, Counts, added
from protocol.frames import BatchStats, ContractStats, EngineStats
from tests.gateway.conftest import until
from tests.gateway.documents import digest, worker
from tests.gateway.fake_engine import FakeEngine

KEY = ("iris", 2)


def counted(requests: int) -> EngineStats:
    """What an engine has counted after as many requests of one row."""
    return EngineStats(
        inference_count=requests,
        execution_count=requests,
        success_count=requests,
        success_ns=10 * requests,
        last_inference_ms=requests,
        batches={1: BatchStats(count=requests, infer_ns=5 * requests)},
    )


def under_contract(refused: int, **values: dict[str, int]) -> EngineStats:
    """What an engine has counted that holds requests to a data contract."""
    contract = ContractStats(mode="enforce", rules=2, refused=refused, values=values)
    return EngineStats(contract=contract)


async def test_what_broke_a_contract_is_summed_over_engines_that_are_and_were(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine, run_dir: Path
) -> None:
    other = FakeEngine(run_dir / "e2.sock", *KEY, digest("iris", 2))
    await other.start()
    engine.counts = under_contract(2, age={"maximum": 3})
    other.counts = under_contract(1, age={"maximum": 1, "nulls": 4}, city={"categories": 1})
    gateway.catalog.apply([worker((2, engine.path), (2, other.path))], False)
    await until(lambda: len(gateway.upstream.connections(KEY)) == 2)

    async def contract() -> dict[str, object]:
        (stats,) = (await client.get("/v2/models/iris/stats")).json()["model_stats"]
        found: dict[str, object] = stats["contract"]
        return found

    wanted = {
        "mode": "enforce",
        "rules": 2,
        "unmatched": [],
        "refused": 3,
        "warned": 0,
        "values": {"age": {"maximum": 4, "nulls": 4}, "city": {"categories": 1}},
    }
    assert await contract() == wanted
    other.drain(msgspec.json.encode(other.counts))
    await other.kill()
    await until(lambda: len(gateway.upstream.connections(KEY)) == 1)
    assert await contract() == wanted
    assert added(engine.counts, other.counts).contract == msgspec.convert(wanted, ContractStats)


async def told(client: httpx.AsyncClient) -> tuple[int, int, int, int]:
    """Rows, requests, runs of one row; and how many engines there are."""
    (stats,) = (await client.get("/v2/models/iris/stats")).json()["model_stats"]
    success = stats["inference_stats"]["success"]
    assert success["ns"] == 10 * success["count"]
    (batch,) = stats["batch_stats"]
    runs = batch["compute_infer"]["count"]
    return stats["inference_count"], success["count"], runs, len(stats["engines"])


async def test_counts_do_not_fall_when_an_engine_is_taken_away(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine, run_dir: Path
) -> None:
    other = FakeEngine(run_dir / "e2.sock", *KEY, digest("iris", 2))
    await other.start()
    engine.counts, other.counts = counted(100), counted(45)
    gateway.catalog.apply([worker((2, engine.path), (2, other.path))], False)
    await until(lambda: len(gateway.upstream.connections(KEY)) == 2)
    assert await told(client) == (145, 145, 145, 2)
    other.drain(msgspec.json.encode(counted(47)))
    await until(lambda: len(gateway.upstream.connections(KEY)) == 1)
    assert await told(client) == (147, 147, 147, 1)
    other.drain(msgspec.json.encode(counted(50)))  # what was in flight is answered
    await other.kill()
    gateway.catalog.apply([worker((2, engine.path))], False)
    await until(lambda: len(gateway.upstream._open) == 1)
    assert await told(client) == (150, 150, 150, 1)


async def test_an_engine_that_dies_leaves_what_it_told_last_and_its_successor_begins_at_nought(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    engine.counts = counted(7)
    assert await told(client) == (7, 7, 7, 1)
    await engine.kill()
    await until(lambda: not gateway.upstream.is_ready(KEY))
    assert await told(client) == (7, 7, 7, 0)
    engine.hello = msgspec.structs.replace(engine.hello, instance="its successor")
    engine.counts = counted(2)
    await engine.start()
    await until(lambda: gateway.upstream.is_ready(KEY))
    assert await told(client) == (9, 9, 9, 1)


async def test_an_engine_whose_connection_was_lost_is_not_counted_twice(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    engine.counts = counted(7)
    assert await told(client) == (7, 7, 7, 1)
    await engine.kill()
    await until(lambda: not gateway.upstream.is_ready(KEY))
    await engine.start()
    await until(lambda: gateway.upstream.is_ready(KEY))
    assert await told(client) == (7, 7, 7, 1)


async def test_counts_of_a_version_that_was_let_go_of_stay(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    engine.drain(msgspec.json.encode(counted(5)))
    await until(lambda: not gateway.upstream.is_ready(KEY))
    await engine.kill()
    engine.hello = msgspec.structs.replace(engine.hello, cold=True, instance="")
    engine.counts = EngineStats()
    await engine.start()
    await until(lambda: gateway.upstream.is_ready(KEY))
    assert await told(client) == (5, 5, 5, 1)


@given(st.lists(st.integers(0, 1000), max_size=3 * MOST_GONE), st.randoms(use_true_random=False))
def test_of_however_many_engines_the_sum_stays_exact_and_few_are_kept(
    requests: list[int], order: random.Random
) -> None:
    counts = Counts()
    names = [f"{n}" for n in range(len(requests))]
    for name, count in zip(names, requests, strict=True):
        counts.note(KEY, name, counted(count))
    connected = set(order.sample(names, min(len(names), 5)))
    counts.fold(connected)
    kept = counts.others(KEY, connected)
    assert len(kept) <= MOST_GONE + 1
    total = EngineStats()
    for stats in [*kept, *(counted(requests[int(name)]) for name in connected)]:
        total = added(total, stats)
    assert total.inference_count == sum(requests)
    assert sum(batch.count for batch in total.batches.values()) == sum(requests)
    assert total.last_inference_ms == max(requests, default=0)


def test_versions_that_are_not_known_any_more_are_forgotten() -> None:
    counts = Counts()
    counts.note(KEY, "a", counted(1))
    counts.note(("other", 1), "a", counted(2))
    counts.keep(lambda key: key == KEY)
    assert counts.others(KEY, ()) == [counted(1)]
    assert counts.others(("other", 1), ()) == []
