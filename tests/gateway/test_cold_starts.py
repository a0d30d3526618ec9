"""Calls for a version that no engine holds: they wake its worker, and wait or are refused."""

import asyncio
from pathlib import Path

import httpx
import msgspec

from gateway.app import Gateway
from gateway.settings import GatewaySettings
from protocol.configuration import ModelDoc, WorkerDoc
from protocol.frames import Frame, Kind
from tests.gateway.conftest import until
from tests.gateway.documents import World, digest, worker
from tests.gateway.fake_engine import FakeEngine, echo

INFER = "/v2/models/iris/infer"
KEY = ("iris", 2)


def let_go(gateway: Gateway, wait_s: int) -> None:
    """Let the model be unloaded when nobody calls it."""
    document = ModelDoc(
        name="iris",
        aliases={"stable": 2, "old": 1, "gone": 4},
        idle_unload_s=60,
        cold_start_wait_s=wait_s,
    )
    gateway.catalog.apply([("model", "iris", document)], False)


async def go_cold(gateway: Gateway, engine: FakeEngine, load_ms: int = 0) -> None:
    """The engine leaves, and its worker listens in its place."""
    await engine.kill()
    await until(lambda: not gateway.upstream.is_ready(KEY))
    engine.hello = msgspec.structs.replace(engine.hello, cold=True, load_ms=load_ms)
    await engine.start()
    await until(lambda: gateway.upstream.is_ready(KEY))


def wakes(engine: FakeEngine) -> int:
    return sum(frame.kind == Kind.WAKE for frame in engine.frames)


async def come_back(engine: FakeEngine) -> None:
    """The engine is loaded."""
    await engine.kill()
    engine.hello = msgspec.structs.replace(engine.hello, cold=False)
    engine.behave = echo
    await engine.start()


def silent(_engine: FakeEngine, _transport: asyncio.Transport, _frame: Frame) -> None:
    """Loads."""


async def test_calls_wake_the_worker_once_and_are_answered_when_it_has_loaded(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    let_go(gateway, wait_s=30)
    await go_cold(gateway, engine)
    engine.behave = silent
    calls = [asyncio.create_task(client.post(INFER, content=b'{"n":%d}' % n)) for n in range(5)]
    await until(lambda: gateway.upstream.in_flight() == 5)
    await until(lambda: wakes(engine) > 0)
    await come_back(engine)
    answers = [await call for call in calls]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert [answer.json() for answer in answers] == [{"n": n} for n in range(5)]
    assert wakes(engine) == 1
    assert gateway.upstream.in_flight() == 0


async def test_without_a_wait_they_are_refused_with_the_time_that_loading_takes(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    let_go(gateway, wait_s=0)
    await go_cold(gateway, engine, load_ms=2_300)
    engine.behave = silent
    for _ in range(3):
        answer = await client.post(INFER, content=b"{}")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "3"
        assert "is being loaded" in answer.json()["error"]
    await until(lambda: wakes(engine) == 1)
    await come_back(engine)
    await until(lambda: any(not c.woken for c in gateway.upstream.connections(KEY)))
    assert (await client.post(INFER, content=b"{}")).status_code == 200
    assert wakes(engine) == 1


async def test_a_call_waits_no_longer_than_the_model_says_nor_than_its_deadline(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    let_go(gateway, wait_s=30)
    await go_cold(gateway, engine)
    engine.behave = silent
    answer = await client.post(INFER, content=b"{}", headers={"tollway-deadline-ms": "50"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    let_go(gateway, wait_s=1)
    answer = await client.post(INFER, content=b"{}")
    assert answer.status_code == 503, "though the deadline was two seconds"
    assert gateway.upstream.in_flight() == 0


async def test_a_call_that_loading_would_outlast_is_refused_at_once_and_wakes_all_the_same(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    let_go(gateway, wait_s=30)
    await go_cold(gateway, engine, load_ms=60_000)
    engine.behave = silent
    short = {"tollway-deadline-ms": "59000"}
    async with asyncio.timeout(20):
        for _ in range(2):  # the second finds the worker woken already
            answer = await client.post(INFER, content=b"{}", headers=short)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "60"
    await until(lambda: wakes(engine) == 1)
    await engine.kill()  # the worker loads, and listens no more
    await until(lambda: not gateway.upstream.is_ready(KEY))
    answer = await client.post(INFER, content=b"{}", headers=short)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    await come_back(engine)
    await until(lambda: gateway.upstream.is_ready(KEY))
    assert (await client.post(INFER, content=b"{}", headers=short)).status_code == 200


async def test_a_call_that_loading_leaves_time_for_waits(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    let_go(gateway, wait_s=30)
    await go_cold(gateway, engine, load_ms=1_000)
    engine.behave = silent
    call = asyncio.create_task(client.post(INFER, content=b"{}"))
    await until(lambda: wakes(engine) == 1)
    await come_back(engine)
    assert (await call).status_code == 200


async def test_a_call_between_the_engines_end_and_its_standby_is_kept(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    let_go(gateway, wait_s=30)
    await engine.kill()
    await until(lambda: not gateway.upstream.is_ready(KEY))
    call = asyncio.create_task(client.post(INFER, content=b"{}"))
    await until(lambda: gateway.upstream.in_flight() == 1)
    engine.hello = msgspec.structs.replace(engine.hello, cold=True)
    engine.behave = silent
    await engine.start()
    await until(lambda: wakes(engine) == 1)
    await come_back(engine)
    assert (await call).status_code == 200


async def test_no_more_calls_wait_than_are_allowed(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine, settings: GatewaySettings
) -> None:
    let_go(gateway, wait_s=30)
    await go_cold(gateway, engine)
    engine.behave = silent
    most = settings.max_cold_waiting
    calls = [asyncio.create_task(client.post(INFER, content=b"{}")) for _ in range(most)]
    await until(lambda: gateway.upstream.in_flight() == most)
    assert (await client.post(INFER, content=b"{}")).status_code == 503
    await come_back(engine)
    assert {(await call).status_code for call in calls} == {200}


async def test_a_model_that_stays_loaded_is_refused_as_before_when_it_has_no_engine(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    await engine.kill()
    await until(lambda: not gateway.upstream.is_ready(KEY))
    answer = await client.post(INFER, content=b"{}")
    assert answer.status_code == 503
    assert "no engine is ready" in answer.json()["error"]


async def test_a_version_that_does_not_load_is_not_waited_for(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    let_go(gateway, wait_s=30)
    await engine.kill()
    _, _, document = worker((2, engine.path))
    (doc,) = document.engines
    failed = WorkerDoc(id="w1", engines=(msgspec.structs.replace(doc, state="failed"),))
    gateway.catalog.apply([("worker", "w1", failed)], False)
    answer = await client.post(INFER, content=b"{}")
    assert answer.status_code == 503
    assert "no engine is ready" in answer.json()["error"]


async def test_one_worker_of_several_is_woken(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine, world: World, run_dir: Path
) -> None:
    let_go(gateway, wait_s=30)
    await go_cold(gateway, engine)
    engine.behave = silent
    other = FakeEngine(run_dir / "e2.sock", "iris", 2, digest("iris", 2))
    other.hello = msgspec.structs.replace(other.hello, cold=True)
    other.behave = silent
    await other.start()
    gateway.catalog.apply([worker((2, engine.path), (2, other.path))], False)
    await until(lambda: len(gateway.upstream.connections(KEY)) == 2)
    call = asyncio.create_task(client.post(INFER, content=b"{}"))
    await until(lambda: wakes(engine) + wakes(other) == 1)
    woken = engine if wakes(engine) else other
    await come_back(woken)
    assert (await call).status_code == 200
    assert wakes(engine) + wakes(other) == 1
    await other.kill()


async def test_a_cold_model_is_ready_and_keeps_nobody_from_being_so(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    let_go(gateway, wait_s=0)
    await go_cold(gateway, engine)
    assert (await client.get("/v2/health/ready")).status_code == 200
    assert (await client.get("/v2/models/iris/ready")).status_code == 200
    engine.behave = silent
    assert wakes(engine) == 0, "asking loads nothing"
    answer = await client.get("/v2/models/iris/stats")
    assert answer.status_code == 200
    assert wakes(engine) == 0


async def test_calls_that_wait_when_the_gateway_stops_are_answered(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    let_go(gateway, wait_s=30)
    await go_cold(gateway, engine)
    engine.behave = silent
    call = asyncio.create_task(client.post(INFER, content=b"{}"))
    await until(lambda: gateway.upstream.in_flight() == 1)
    await gateway.upstream.close()
    assert (await call).status_code == 503


async def test_calls_that_lose_their_engine_while_the_gateway_stops_are_answered(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    let_go(gateway, wait_s=30)
    engine.behave = silent
    call = asyncio.create_task(client.post(INFER, content=b"{}"))
    await until(lambda: gateway.upstream.in_flight() == 1)
    await gateway.upstream.close()
    assert gateway.upstream.in_flight() == 0
    assert (await call).status_code == 503
