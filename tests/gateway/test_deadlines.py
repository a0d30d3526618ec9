"""A deadline that no engine can keep is refused at once, if it can be without asking an engine."""

import asyncio
from pathlib import Path

import httpx
import pytest

from gateway.app import Gateway
from gateway.reach import Reach
from protocol.configuration import PlanDoc
from protocol.frames import TURNED_AWAY, Frame, Kind, encode_header
from tests.gateway.conftest import until
from tests.gateway.documents import World, digest, worker
from tests.gateway.fake_engine import FakeEngine, echo

INFER = "/v2/models/iris/infer"


def busy(needed_ms: int, only_first: bool = False) -> object:
    """An engine that would need so long."""
    turned = 0

    def behave(engine: FakeEngine, transport: asyncio.Transport, frame: Frame) -> None:
        nonlocal turned
        if only_first and turned:
            echo(engine, transport, frame)
            return
        turned += 1
        transport.write(
            encode_header(Kind.REPLY, 0, flags=TURNED_AWAY, id=frame.id, b=needed_ms * 1000)
        )

    return behave


def within(milliseconds: int) -> dict[str, str]:
    return {"tollway-deadline-ms": str(milliseconds)}


async def test_what_an_engine_turns_away_is_answered_503_with_retry_after(
    client: httpx.AsyncClient, engine: FakeEngine, gateway: Gateway
) -> None:
    engine.behave = busy(3_500)  # type: ignore[assignment]
    answer = await client.post(INFER, content=b"{}", headers=within(1_000))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "3"
    assert "within the request's deadline" in answer.json()["error"]
    assert answer.headers["tollway-version"] == "2"
    assert gateway.upstream.unreachable == 1


async def test_the_next_that_cannot_be_kept_is_not_even_sent(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.behave = busy(60_000)  # type: ignore[assignment]
    for _ in range(5):
        answer = await client.post(INFER, content=b"{}", headers=within(1_000))
        assert answer.status_code == 503
    assert len(engine.frames) == 1


async def test_who_allows_more_time_is_sent_all_the_same(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.behave = busy(1_000, only_first=True)  # type: ignore[assignment]
    assert (await client.post(INFER, content=b"{}", headers=within(500))).status_code == 503
    assert (await client.post(INFER, content=b"{}", headers=within(1_900))).status_code == 200


async def test_calls_without_the_header_have_the_gateways_deadline(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.behave = busy(60_000)  # type: ignore[assignment]
    assert (await client.post(INFER, content=b"{}")).status_code == 503


@pytest.mark.parametrize(
    ("of_plan", "of_client", "answered"),
    [(500, None, 503), (500, 5_000, 503), (5_000, 500, 503), (5_000, None, 200), (None, None, 200)],
)
async def test_the_shortest_deadline_of_client_plan_and_gateway_holds(
    client: httpx.AsyncClient,
    engine: FakeEngine,
    gateway: Gateway,
    of_plan: int | None,
    of_client: int | None,
    answered: int,
) -> None:
    plan = PlanDoc(name="unlimited", deadline_ms=of_plan)
    gateway.catalog.apply([("plan", "unlimited", plan)], False)
    engine.behave = busy(2_000, only_first=True)  # type: ignore[assignment]
    # The gateway learns that an answer takes two seconds now.
    assert (await client.post(INFER, content=b"{}", headers=within(1))).status_code == 503

    headers = {} if of_client is None else within(of_client)
    answer = await client.post(INFER, content=b"{}", headers=headers)

    assert answer.status_code == answered, answer.text


async def test_another_engine_is_asked_before_anybody_is_refused(
    client: httpx.AsyncClient, engine: FakeEngine, gateway: Gateway, world: World, run_dir: Path
) -> None:
    other = FakeEngine(run_dir / "e2.sock", "iris", 2, digest("iris", 2))
    await other.start()
    gateway.catalog.apply([*world.changes(), worker((2, engine.path), (2, other.path))], True)
    await until(lambda: len(gateway.upstream.connections(("iris", 2))) == 2)
    engine.behave = busy(60_000)  # type: ignore[assignment]
    other.behave = echo
    for _ in range(6):
        answer = await client.post(INFER, content=b"{}", headers=within(1_000))
        assert answer.status_code == 200
    assert len(engine.frames) <= 1
    assert len(other.frames) == 6
    await other.kill()


def test_the_way_to_the_engine_is_kept_aside_but_never_all_of_the_time() -> None:
    reach = Reach()
    assert reach.left(deadline=1.0, now=0.0) == 1.0
    for _ in range(50):
        reach.answered(took_s=0.030, engine_us=10_000)
    assert 0.019 < reach.way_s < 0.021
    assert 0.97 < reach.left(deadline=1.0, now=0.0) < 0.99
    assert reach.left(deadline=0.010, now=0.0) == 0.005
    for _ in range(5_000):
        reach.answered(took_s=0.011, engine_us=10_000)
    assert reach.way_s < 0.002


def test_an_engine_is_out_of_reach_until_its_queue_has_run_down() -> None:
    reach = Reach()
    reach.turned_away(now=10.0, needed_us=300_000)
    assert round(reach.late(deadline=10.1, now=10.0), 6) == 0.2
    assert reach.late(deadline=10.4, now=10.0) == 0
    assert reach.late(deadline=10.3, now=10.2) == 0
    assert reach.late(deadline=11.0, now=10.5) == 0
