"""Requests are mirrored to shadow versions after their answers, within bounds, never instead."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest

from gateway.app import Gateway
from gateway.catalog import ModelEntry
from gateway.connection import Exchange, VersionKey
from gateway.settings import GatewaySettings
from gateway.shadowing import FLUSH_S, TRICKLE_S, WAIT_US, Shadowing
from policies.base import Call, Identity
from protocol.configuration import ModelDoc, ShadowDoc
from protocol.errors import Code, TollwayError
from protocol.frames import NO_HEADER, SHADOWED, Frame, Kind, Operation, encode_header
from protocol.shadowing import MirrorBatch, Mirrored
from tests.gateway.conftest import until
from tests.gateway.documents import World, digest, worker
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.sockets import LANES, request, talk

V1 = "/v1/models/iris:predict"
V2 = "/v2/models/iris/infer"
SHADOW = ("iris", 3)


def compares(engine: FakeEngine, transport: asyncio.Transport, frame: Frame) -> None:
    """Say that everything was compared."""
    count = len(batch(frame).items)
    transport.write(encode_header(Kind.REPLY, 0, flags=SHADOWED, id=frame.id, a=count))


def holds(_engine: FakeEngine, _transport: asyncio.Transport, _frame: Frame) -> None:
    """Take it, and say nothing."""


def batch(frame: Frame) -> MirrorBatch:
    return msgspec.msgpack.decode(frame.body, type=MirrorBatch)


def items(engine: FakeEngine) -> list[Mirrored]:
    return [item for frame in engine.frames for item in batch(frame).items]


@pytest.fixture
async def shadow(gateway: Gateway, engine: FakeEngine, run_dir: Path) -> AsyncIterator[FakeEngine]:
    """The engine of iris version 3, which shadows all requests, however busy this machine is."""
    gateway._shadowing._max_late_s = 60.0
    gateway._shadowing._occupied = lambda: 0
    fake = FakeEngine(run_dir / "e3.sock", "iris", 3, digest("iris", 3))
    fake.behave = compares
    await fake.start()
    configure(gateway, ShadowDoc(version=3))
    gateway.catalog.apply([worker((2, engine.path), (3, fake.path))], False)
    await until(lambda: gateway.upstream.is_ready(SHADOW))
    yield fake
    await fake.kill()


def configure(gateway: Gateway, *shadows: ShadowDoc, **fields: object) -> None:
    values = {"aliases": {"stable": 2, "old": 1}, "shadows": shadows, **fields}
    document = msgspec.convert({"name": "iris", **msgspec.to_builtins(values)}, ModelDoc)
    gateway.catalog.apply([("model", "iris", document)], False)


def shed(gateway: Gateway, reason: str) -> int:
    found = gateway._shadowing._shadows.get(SHADOW)
    return 0 if found is None else dict(found.shed)[reason]  # type: ignore[index]


@pytest.mark.parametrize("lane", LANES)
async def test_what_the_model_got_and_answered_is_mirrored_plain_in_any_form(
    lane: str, world: World, ports: dict[str, int], engine: FakeEngine, shadow: FakeEngine
) -> None:
    plain = b'{"n": [' + b",".join(b"%d" % n for n in range(2000)) + b"]}"
    coded = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    binary = {"Inference-Header-Content-Length": "4"}
    for path, body, headers in (
        (V1, b'{"instances": [1]}', {}),
        (V2, b'{"inputs": []}', {}),
        (V2, b"{  }1234", binary),
        (V2, gzip.compress(plain), coded),
    ):
        headers = {**headers, "Connection": "close"}  # noqa: PLW2901
        sent = request(world.key, body, path=path.encode(), headers=headers)
        assert (await talk(ports[lane], sent)).startswith(b"HTTP/1.1 200 OK\r\n")
    await until(lambda: len(items(shadow)) == 4)
    found = items(shadow)
    assert [item.body for item in found] == [frame.body for frame in engine.frames]
    assert [item.answer for item in found] == [item.body for item in found]  # the engine echoes
    assert [item.operation for item in found] == [Operation.V1_PREDICT] + [Operation.V2_INFER] * 3
    assert [item.header_length for item in found] == [NO_HEADER, NO_HEADER, 4, NO_HEADER]
    assert {(item.version, item.application) for item in found} == {(2, "shop")}
    assert len({item.prediction_id for item in found}) == 4


async def test_the_share_of_the_requests_is_exact_and_even(
    client: httpx.AsyncClient, gateway: Gateway, shadow: FakeEngine
) -> None:
    configure(gateway, ShadowDoc(version=3, permille=250))
    for number in range(40):
        await client.post(V2, content=b"%d" % number)
    await until(lambda: len(items(shadow)) == 10)
    assert [item.body for item in items(shadow)] == [b"%d" % n for n in range(3, 40, 4)]


async def test_segments_travel_with_the_requests(
    client: httpx.AsyncClient, gateway: Gateway, shadow: FakeEngine
) -> None:
    configure(gateway, ShadowDoc(version=3), segments={"young": "age<30"})
    await client.post(V2, content=b"1")
    await until(lambda: len(shadow.frames) == 1)
    assert batch(shadow.frames[0]).segments == {"young": "age<30"}
    assert not items(shadow)[0].kept


async def test_payload_may_be_kept_of_the_share_that_is_captured(
    client: httpx.AsyncClient, gateway: Gateway, shadow: FakeEngine
) -> None:
    configure(gateway, ShadowDoc(version=3), capture_permille=1000)
    await client.post(V2, content=b"1")
    await until(lambda: len(shadow.frames) == 1)
    assert items(shadow)[0].kept


async def test_what_failed_and_what_the_shadow_answered_itself_is_not_mirrored(
    client: httpx.AsyncClient, gateway: Gateway, world: World, engine: FakeEngine,
    shadow: FakeEngine,
) -> None:  # fmt: skip
    engine.behave = lambda engine, transport, frame: engine.reply(transport, frame, 400, b"{}")
    assert (await client.post(V2, content=b"1")).status_code == 400
    shadow.behave = lambda engine, transport, frame: (
        engine.reply(transport, frame, 200, b"{}")
        if frame.kind == Kind.INFER
        else compares(engine, transport, frame)
    )
    staged = "/v2/models/iris/versions/3/infer"
    answer = await client.post(staged, content=b"2", headers={"x-api-key": world.admin})
    assert answer.status_code == 200
    engine.behave = lambda engine, transport, frame: engine.reply(transport, frame, 200, b"{}")
    await client.post(V2, content=b"3")
    await until(lambda: gateway._shadowing._shadows[SHADOW].compared == 1)
    mirrored = [frame for frame in shadow.frames if frame.kind == Kind.SHADOW]
    assert [item.body for frame in mirrored for item in batch(frame).items] == [b"3"]


async def test_nothing_of_a_shadow_is_a_request_of_its_version(
    client: httpx.AsyncClient, gateway: Gateway, shadow: FakeEngine
) -> None:
    for _ in range(5):
        await client.post(V2, content=b"1")
    await until(lambda: gateway._shadowing._shadows[SHADOW].compared == 5)
    assert set(gateway.metrics._series) == {("iris", 2)}
    assert gateway.metrics._series["iris", 2].statuses == {200: 5}


async def test_a_shadow_without_an_engine_is_shed_and_wakes_nobody(
    client: httpx.AsyncClient, gateway: Gateway, shadow: FakeEngine
) -> None:
    configure(gateway, ShadowDoc(version=3), idle_unload_s=60, cold_start_wait_s=30)
    await shadow.kill()
    await until(lambda: not gateway.upstream.is_ready(SHADOW))
    assert (await client.post(V2, content=b"1")).status_code == 200
    await until(lambda: shed(gateway, "no_engine") == 1)
    shadow.hello = msgspec.structs.replace(shadow.hello, cold=True)
    await shadow.start()
    await until(lambda: gateway.upstream.is_ready(SHADOW))
    assert (await client.post(V2, content=b"1")).status_code == 200
    await until(lambda: shed(gateway, "no_engine") == 2)
    assert shadow.frames == []


async def test_a_shadow_that_does_not_keep_up_costs_no_answer_and_bounded_memory(
    client: httpx.AsyncClient, gateway: Gateway, shadow: FakeEngine
) -> None:
    shadow.behave = holds
    gateway._shadowing._max_requests = 5
    gateway._shadowing._max_bytes = 300
    await client.post(V2, content=b"first")
    await until(lambda: len(shadow.frames) == 1)
    for number in range(10):
        answer = await client.post(V2, content=b"%d" % number)
        assert answer.status_code == 200
    assert shed(gateway, "budget") == 5
    assert (await client.post(V2, content=b"x" * 200)).status_code == 200
    assert shed(gateway, "budget") == 6
    assert len(shadow.frames) == 1
    compares(shadow, shadow.transports[-1], shadow.frames[0])
    await until(lambda: len(shadow.frames) == 2)
    assert [item.body for item in items(shadow)] == [b"first", *(b"%d" % n for n in range(5))]
    assert gateway._shadowing._size == 0


async def test_what_an_engine_drops_or_takes_with_it_is_counted(
    client: httpx.AsyncClient, gateway: Gateway, shadow: FakeEngine
) -> None:
    def drops(_engine: FakeEngine, transport: asyncio.Transport, frame: Frame) -> None:
        transport.write(encode_header(Kind.REPLY, 0, flags=SHADOWED, id=frame.id, b=1))

    shadow.behave = drops
    await client.post(V2, content=b"1")
    await until(lambda: shed(gateway, "engine") == 1)
    shadow.behave = holds
    await client.post(V2, content=b"2")
    await until(lambda: len(shadow.frames) == 2)
    await shadow.kill()
    await until(lambda: shed(gateway, "engine") == 2)


async def test_a_shadow_that_is_taken_away_gets_nothing_more(
    client: httpx.AsyncClient, gateway: Gateway, shadow: FakeEngine
) -> None:
    shadow.behave = holds
    await client.post(V2, content=b"1")
    await until(lambda: len(shadow.frames) == 1)
    await client.post(V2, content=b"2")
    configure(gateway)
    compares(shadow, shadow.transports[-1], shadow.frames[0])
    await until(lambda: shed(gateway, "no_engine") == 1)
    await client.post(V2, content=b"3")
    assert len(shadow.frames) == 1


# a gateway without time for it


class Engines:
    """Takes everything, and is done with it at once."""

    def __init__(self) -> None:
        self.sent: list[MirrorBatch] = []

    def offer(self, _key: VersionKey, exchange: Exchange) -> bool:
        found = msgspec.msgpack.decode(exchange.body, type=MirrorBatch)
        self.sent.append(found)
        exchange.done(Frame(Kind.REPLY, SHADOWED, 0, 1, len(found.items), 0, 0, 0, b""))
        return True


async def test_rows_of_an_application_that_stays_out_are_compared_and_never_shown(
    settings: GatewaySettings,
) -> None:
    entry = ModelEntry("iris")
    entry.shadows, entry.capture_permille = (ShadowDoc(version=3),), 1000
    engines = Engines()
    built = Shadowing(settings, {"iris": entry}, engines, occupied=lambda: 0, uncaptured={"shop"})
    reply = Frame(Kind.REPLY, 0, 200, 1, 0, 0, 1, NO_HEADER, b"answer")
    for name in ("shop", "bank"):
        identity = Identity("key", name)
        built.answered(Call(model="iris", version=2, identity=identity), reply, b"body")
    built._flush()
    items = [item for batch in engines.sent for item in batch.items]
    assert [(item.application, item.kept) for item in items] == [("shop", False), ("bank", True)]


async def test_a_gateway_whose_timers_are_late_mirrors_a_trickle_until_they_are_not(
    settings: GatewaySettings,
) -> None:
    entry = ModelEntry("iris")
    entry.shadows = (ShadowDoc(version=3),)
    engines, now = Engines(), [100.0]
    built = Shadowing(settings, {"iris": entry}, engines, lambda: now[0], lambda: 0)
    call = Call(model="iris", version=2)
    reply = Frame(Kind.REPLY, 0, 200, 1, 0, 0, 1, NO_HEADER, b"answer")

    def compared(times: int, late_s: float) -> int:
        """How many of ten requests in each of so many flushes."""
        before = sum(len(one.items) for one in engines.sent)
        for _ in range(times):
            for _ in range(10):
                built.answered(call, reply, b"body")
            now[0] += FLUSH_S + late_s
            built._flush()
        return sum(len(one.items) for one in engines.sent) - before

    assert compared(20, 0.0) == 200
    compared(20, 2 * built._max_late_s)
    seconds = 100 * (FLUSH_S + 2 * built._max_late_s)
    trickle = compared(100, 2 * built._max_late_s)
    assert 0 < trickle <= seconds / TRICKLE_S + 1
    compared(20, 0.0)
    assert compared(20, 0.0) == 200
    found = built._shadows[SHADOW]
    assert found.compared + sum(found.shed.values()) == 1800
    assert built._size == 0


async def test_a_gateway_without_time_to_spare_mirrors_a_trickle_until_it_has_some(
    settings: GatewaySettings,
) -> None:
    entry = ModelEntry("iris")
    entry.shadows = (ShadowDoc(version=3),)
    engines, now, occupied = Engines(), [100.0], [0]
    built = Shadowing(settings, {"iris": entry}, engines, lambda: now[0], lambda: occupied[0])
    call = Call(model="iris", version=2)
    reply = Frame(Kind.REPLY, 0, 200, 1, 0, 0, 1, NO_HEADER, b"answer")

    def compared(part: float) -> int:
        """How many of a thousand requests, while the loop is occupied for a part of the time."""
        before = sum(len(one.items) for one in engines.sent)
        for _ in range(100):
            for _ in range(10):
                built.answered(call, reply, b"body")
            now[0] += FLUSH_S
            occupied[0] += int(part * FLUSH_S * 1e9)
            built._flush()
        return sum(len(one.items) for one in engines.sent) - before

    assert compared(built._max_occupation - 0.1) == 1000
    compared(1.0)
    assert 0 < compared(1.0) <= 100 * FLUSH_S / TRICKLE_S + 1
    compared(0.0)
    assert compared(built._max_occupation - 0.1) == 1000


async def test_what_is_answered_by_engines_that_have_no_time_is_not_mirrored(
    settings: GatewaySettings,
) -> None:
    entry = ModelEntry("iris")
    entry.shadows = (ShadowDoc(version=3),)
    engines, now = Engines(), [100.0]
    built = Shadowing(settings, {"iris": entry}, engines, lambda: now[0], lambda: 0)

    def answer(queue_us: int, run_us: int) -> None:
        built.answered(
            Call(model="iris", version=2),
            Frame(Kind.REPLY, 0, 200, 1, queue_us, run_us, 1, NO_HEADER, b"answer"),
            b"body",
        )
        now[0] += TRICKLE_S / 10
        built._flush()

    for _ in range(200):
        answer(WAIT_US - 1, 100)  # a wait that nobody minds
        answer(3 * WAIT_US, 7 * WAIT_US)  # beside its own run
    assert built._shadows[SHADOW].compared == 400
    for _ in range(200):
        answer(3 * WAIT_US, WAIT_US)
    shed = built._shadows[SHADOW].shed["busy"]
    assert shed > 90
    for _ in range(200):
        answer(0, 100)
    assert built._shadows[SHADOW].shed["busy"] < shed + 90


async def test_failures_of_the_gateway_are_not_mirrored(settings: GatewaySettings) -> None:
    entry = ModelEntry("iris")
    entry.shadows = (ShadowDoc(version=3),)
    built = Shadowing(settings, {"iris": entry}, Engines())
    built.answered(Call(model="iris", version=2), TollwayError(Code.NOT_READY, ""), b"body")
    built.answered(Call(model="other", version=2), TollwayError(Code.NOT_READY, ""), b"body")
    assert built._shadows == {}
