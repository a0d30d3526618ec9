"""Payloads are captured where a publisher allows it: a share, bounded, and never a credential."""

import asyncio
import contextlib
import gzip
from pathlib import Path

import httpx
import msgspec
import pytest

from gateway.app import Gateway
from gateway.capture import MAX_FAILURES, MISSES, SUFFIX, is_chosen
from protocol.captures import Captured, decode_batch
from protocol.configuration import ApplicationDoc, ModelDoc
from protocol.frames import NO_HEADER, SHARED, Kind, Operation, encode_header
from protocol.keys import generate
from tests.gateway.documents import World
from tests.gateway.fake_engine import FakeEngine

INFER = "/v2/models/iris/infer"


def allow(gateway: Gateway, permille: int) -> None:
    document = ModelDoc(name="iris", aliases={"stable": 2}, capture_permille=permille)
    gateway.catalog.apply([("model", "iris", document)], False)


def spool(gateway: Gateway) -> list[Path]:
    return sorted(gateway.capture._folder.glob("*" + SUFFIX))


async def captured(gateway: Gateway) -> list[Captured]:
    await gateway.capture.spool()
    return [one for path in spool(gateway) for one in decode_batch(path.read_bytes())]


async def test_nothing_is_captured_unless_it_is_allowed(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    await client.post(INFER, content=b"{}")
    assert await captured(gateway) == []


async def test_a_capture_has_both_bodies_and_how_to_read_them(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    allow(gateway, 1000)
    engine.behave = lambda e, t, f: e.reply(t, f, 200, b"{}\x01\x02", json_bytes=2)
    answer = await client.post(
        INFER,
        content=gzip.compress(b'{"a":1}\0'),
        headers={
            "inference-header-content-length": "7",
            "content-encoding": "gzip",
            "accept-encoding": "gzip",
        },
    )
    (found,) = await captured(gateway)
    assert found == Captured(
        id=answer.headers["tollway-prediction-id"],
        at_ms=found.at_ms,
        application="shop",
        model="iris",
        version=2,
        variant="stable",
        operation=Operation.V2_INFER,
        rows=1,
        shared=False,
        request_header=7,
        request_coding="gzip",
        answer_header=2,
        answer_coding="gzip",
        request=b'{"a":1}\0',
        answer=b"{}\x01\x02",
    )
    (path,) = spool(gateway)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_shared_run_is_told_of(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    allow(gateway, 1000)

    def shared(_engine: FakeEngine, transport: asyncio.Transport, frame: object) -> None:
        id = frame.id  # type: ignore[attr-defined]
        header = encode_header(
            Kind.REPLY, 2, status=200, flags=SHARED, id=id, b=22, c=1, d=NO_HEADER
        )
        transport.write(header + b"{}")

    engine.behave = shared
    answer = await client.post(INFER, content=b"{}")
    assert answer.status_code == 200
    assert "infer;dur=0.022" in answer.headers["server-timing"]
    assert [one.shared for one in await captured(gateway)] == [True]


async def test_what_is_no_prediction_is_not_captured(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    allow(gateway, 1000)
    engine.behave = lambda e, t, f: e.reply(t, f, 400, b'{"error":"no"}')
    await client.post(INFER, content=b"{}")
    await client.post(INFER, content=b"{}", headers={"x-api-key": "nobody"})
    assert await captured(gateway) == []


async def test_nothing_of_an_application_that_stays_out_is_captured(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    allow(gateway, 1000)
    out = ApplicationDoc(name="shop", consumer="acme", capture=False)
    gateway.catalog.apply([("application", "shop", out)], False)
    assert (await client.post(INFER, content=b"{}")).status_code == 200
    assert await captured(gateway) == []
    again = msgspec.structs.replace(out, capture=True)
    gateway.catalog.apply([("application", "shop", again)], False)
    await client.post(INFER, content=b"{}")
    assert len(await captured(gateway)) == 1


async def test_no_credential_is_ever_captured(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine, world: World
) -> None:
    allow(gateway, 1000)
    secret = generate("live").encode()
    await client.post(INFER, content=b'{"text": "my key is ' + secret + b'"}')
    engine.behave = lambda e, t, f: e.reply(t, f, 200, b'["' + secret + b'"]')
    await client.post(INFER, content=b"{}")
    engine.behave = lambda e, t, f: e.reply(t, f, 200, b"{}")
    await client.post(INFER, content=b"{}")
    assert len(await captured(gateway)) == 1
    assert gateway.capture.counts["credential"] == 2
    (path,) = spool(gateway)
    assert secret not in path.read_bytes()
    assert world.key.encode() not in path.read_bytes()


async def test_large_payloads_and_those_without_room_are_shed_and_counted(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    allow(gateway, 1000)
    capture = gateway.capture
    capture._max_bytes, capture._memory_bytes = 1000, 2500
    for size in (501, 400, 400, 10):
        await client.post(INFER, content=b"x" * size)
    assert len(await captured(gateway)) == 1
    assert (capture.counts["too_large"], capture.counts["no_memory"]) == (1, 2)
    capture._spool_bytes = spool(gateway)[0].stat().st_size + 100
    await client.post(INFER, content=b"x" * 400)
    assert len(await captured(gateway)) == 1
    assert (capture.counts["kept"], capture.counts["no_spool"]) == (1, 1)


async def test_captures_wait_for_control_and_leave_with_its_word(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    allow(gateway, 1000)
    answer = await client.post(INFER, content=b"{}")
    await gateway.capture.spool()
    sent: list[bytes] = []
    status = 503

    def control(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return httpx.Response(status)

    transport = httpx.MockTransport(control)
    async with httpx.AsyncClient(transport=transport, base_url="http://control") as shipping:
        with pytest.raises(httpx.HTTPStatusError):
            await gateway.capture.ship(shipping)
        assert len(spool(gateway)) == 1
        status = 204
        await gateway.capture.ship(shipping)
        assert spool(gateway) == []
        assert [one.id for one in decode_batch(sent[-1])] == [
            answer.headers["tollway-prediction-id"]
        ]
        status = 422
        await client.post(INFER, content=b"{}")
        await gateway.capture.spool()
        await gateway.capture.ship(shipping)
    assert spool(gateway) == []
    assert gateway.capture.counts["refused"] == 1


@pytest.mark.parametrize("status", [404, 500])
async def test_files_that_control_cannot_take_stop_no_others_and_are_dropped(
    gateway: Gateway, status: int
) -> None:
    capture, folder = gateway.capture, gateway.capture._folder
    bad = [folder / f"{number:014d}-bad{SUFFIX}" for number in range(MISSES + 1)]
    for path in bad:
        path.write_bytes(b"bad")
    sent: list[bytes] = []

    def control(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return httpx.Response(status if request.content == b"bad" else 204)

    transport = httpx.MockTransport(control)
    async with httpx.AsyncClient(transport=transport, base_url="http://control") as shipping:
        for _ in range(3 * MAX_FAILURES):
            with contextlib.suppress(httpx.HTTPStatusError):
                await capture.ship(shipping)
        assert spool(gateway) == bad  # nothing was taken: it may be control that fails
        for number in range(3 * MAX_FAILURES):
            good = b"good %d" % number
            (folder / f"1{number:013d}-good{SUFFIX}").write_bytes(good)
            with contextlib.suppress(httpx.HTTPStatusError):
                await capture.ship(shipping)
            if good not in sent:
                await capture.ship(shipping)
            assert good in sent
    assert spool(gateway) == []
    assert capture.counts["refused"] == len(bad)


@pytest.mark.parametrize("permille", [1, 10, 500])
def test_the_share_is_even(permille: int) -> None:
    ids = [b"0123456789abcdef-1-%x" % number for number in range(1, 50_001)]
    chosen = sum(is_chosen(id, permille) for id in ids)
    expected = 50 * permille
    assert abs(chosen - expected) <= 6 * expected**0.5
    assert not any(is_chosen(id, 0) for id in ids[:100])
    assert all(is_chosen(id, 1000) for id in ids[:100])
