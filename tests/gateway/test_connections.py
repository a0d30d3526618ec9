"""What a connection promises beside its answers; by raw sockets, on both lanes."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

import runtime.strict_http
from gateway.app import Gateway
from protocol.frames import Frame
from tests.fixtures.certificates import contexts
from tests.gateway.bad_requests import BODIES, HEADS, TOO_LARGE, spelled
from tests.gateway.conftest import until
from tests.gateway.documents import World
from tests.gateway.fake_engine import FakeEngine, echo
from tests.gateway.sockets import LANES, connection, request, serving, talk

H2C = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}
"""What Java's client and ``curl --http2`` offer with every first request."""


@pytest.fixture
def trust(tmp_path: Path) -> ssl.SSLContext:
    """A client's trust in the certificate that ``tmp_path`` holds from now on."""
    return contexts(tmp_path, "localhost")[1]


async def test_tls_carries_the_same_answers(
    world: World, gateway: Gateway, engine: FakeEngine, tmp_path: Path, trust: ssl.SSLContext
) -> None:
    large = b'{"x": "' + b"y" * 90_000 + b'"}'
    engine.behave = lambda e, t, f: e.reply(t, f, 200, f.body)
    close = {"Connection": "close"}
    async with serving(gateway, tmp_path) as ports:
        for lane in LANES:
            sent = request(world.key, large) + request(world.key, b'{"n": 2}', headers=close)
            for parts in ((sent,), (sent[:9], sent[9:400], sent[400:50_000], sent[50_000:])):
                answer = await talk(ports[lane], *parts, tls=trust)
                first, found, second = answer.partition(large)
                assert found
                assert first.startswith(b"HTTP/1.1 200 OK\r\n")
                assert second.startswith(b"HTTP/1.1 200 OK\r\n")
                assert second.endswith(b'{"n": 2}')


async def test_tls_refuses_bad_requests_too(
    world: World, gateway: Gateway, engine: FakeEngine, tmp_path: Path, trust: ssl.SSLContext
) -> None:
    async with serving(gateway, tmp_path) as ports:
        for lane in LANES:
            for bad in (HEADS["two lengths"], BODIES["chunk with 0x"], TOO_LARGE["many fields"]):
                sent = spelled(bad, b"/v2/models/iris/infer", world.key) + request(world.key)
                answer = await talk(ports[lane], sent, tls=trust)
                assert answer.startswith(b"HTTP/1.1 4")
                assert answer.count(b"HTTP/1.1 ") == 1
    assert engine.frames == []


async def test_port_of_tls_takes_no_plain_request(
    world: World, gateway: Gateway, tmp_path: Path, trust: ssl.SSLContext
) -> None:
    assert trust
    async with serving(gateway, tmp_path) as ports:
        for lane in LANES:
            answer = await asyncio.gather(
                talk(ports[lane], request(world.key)), return_exceptions=True
            )
            assert answer[0] == b"" or isinstance(answer[0], ConnectionError)


async def test_shutdown_answers_what_is_under_way_and_closes_what_is_idle(
    world: World, gateway: Gateway, engine: FakeEngine
) -> None:
    for lane in LANES:
        held: list[tuple[asyncio.Transport, Frame]] = []
        engine.behave = lambda _, t, f, held=held: held.append((t, f))  # type: ignore[misc]
        server = serving(gateway)
        ports = await server.__aenter__()
        async with connection(ports[lane]) as (busy, ask), connection(ports[lane]) as (idle, _):
            ask.write(request(world.key, b'{"n": 1}') + request(world.key, b'{"n": 2}'))
            await until(lambda held=held: len(held) == 1)  # type: ignore[misc]
            stopping = asyncio.create_task(server.__aexit__(None, None, None))
            assert await idle.read() == b""
            engine.behave = echo
            engine.reply(*held[0], 200, b'{"n": 1}')
            answers = await busy.read()
            await stopping
        assert answers.count(b"HTTP/1.1 200 OK\r\n") == 2
        assert answers.count(b"connection: close") == 1
        assert answers.endswith(b'{"n": 2}')


async def test_client_that_leaves_within_its_body_gives_its_place_back(
    world: World, gateway: Gateway, ports: dict[str, int], engine: FakeEngine
) -> None:
    before = gateway.fast_lane.bodies.copy()
    async with connection(ports["fast"]) as (_, writer):
        writer.write(request(world.key, b"0123456789")[:-5])
        await until(lambda: gateway.fast_lane.bodies != before)
        writer.transport.abort()
    await until(lambda: gateway.fast_lane.bodies == before)
    assert engine.frames == []


@pytest.mark.parametrize("lane", LANES)
async def test_offer_of_another_protocol_is_passed_over_and_the_body_is_read(
    lane: str, world: World, ports: dict[str, int]
) -> None:
    chunks = request(
        world.key, b'3\r\n{"n\r\n5\r\n": 2}\r\n0\r\n\r\n', length=False,
        headers=H2C | {"Transfer-Encoding": "chunked"},
    )  # fmt: skip
    sent = (
        request(world.key, b'{"n": 1}', headers=H2C)
        + chunks
        + request("", b"", method=b"GET", path=b"/v2/health/live", headers=H2C)
        + request(world.key, b'{"n": 3}')
    )
    whole = await talk(ports[lane], sent)
    cut = await talk(ports[lane], *(sent[at : at + 7] for at in range(0, len(sent), 7)))
    for answer in (whole, cut):
        assert answer.count(b"HTTP/1.1 200 OK\r\n") == 4
        places = [answer.index(b) for b in (b'{"n": 1}', b'{"n": 2}', b'{"live"', b'{"n": 3}')]
        assert places == sorted(places)


@pytest.mark.parametrize("lane", LANES)
async def test_nothing_is_done_after_a_request_that_closes(
    lane: str, world: World, ports: dict[str, int], engine: FakeEngine
) -> None:
    behind = request(world.key, b'{"behind": 1}')
    closing = [
        request(world.key, headers={"Connection": "close"}),
        request(world.key).replace(b"HTTP/1.1", b"HTTP/1.0"),
        request("bad", headers={"Connection": "close"}),
        request(world.key, b"x" * 100_001),
    ]
    for first in closing:
        answer = await talk(ports[lane], first + behind)
        assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert all(frame.body == b"{}" for frame in engine.frames)


@pytest.mark.parametrize("lane", LANES)
async def test_head_that_does_not_come_is_not_waited_for(
    lane: str, world: World, ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.strict_http, "HEAD_WITHIN_S", 0.1)
    assert await talk(ports[lane]) == b""
    async with connection(ports[lane]) as (reader, writer), asyncio.timeout(10):
        sent = request(world.key)[:-20]
        at = 0
        with contextlib.suppress(ConnectionResetError):  # what is sent to a closed port is reset
            while not reader.at_eof() and at < len(sent):  # it never stops to come
                writer.write(sent[at : at + 1])
                await asyncio.sleep(0.01)
                at += 1
            assert await reader.read() == b""
        assert at < len(sent)


@pytest.mark.parametrize("lane", LANES)
async def test_many_small_chunks_are_one_body(
    lane: str, world: World, ports: dict[str, int], engine: FakeEngine
) -> None:
    body = bytes(range(32, 127)) * 200
    sent = request(
        world.key, b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n",
        headers={"Transfer-Encoding": "chunked", "Connection": "close"}, length=False,
    )  # fmt: skip
    assert b" 200 OK" in await talk(ports[lane], sent)
    assert engine.frames[-1].body == body
