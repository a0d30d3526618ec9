"""Requests whose head was read before are answered as those that are parsed."""

import asyncio

import pytest

from gateway.app import Gateway
from gateway.known_heads import MOST, KnownHead, KnownHeads, head_of, is_memorable
from policies.base import Call
from tests.gateway.documents import World
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.sockets import LANES, connection, request, talk
from tests.gateway.test_lanes import cases, settled


async def answer_to(reader: asyncio.StreamReader) -> bytes:
    """One answer; shorter where the connection ends."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    length = next(
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    return head + await reader.readexactly(length)


async def again_and_again(port: int, sent: bytes) -> list[bytes]:
    """The answers to the same request, one after the other, until one says that it is the last."""
    answers: list[bytes] = []
    async with connection(port) as (reader, writer), asyncio.timeout(20):
        for _ in range(3):
            writer.write(sent)
            answers.append(settled(await answer_to(reader)))
            if b"\r\nconnection: close" in answers[-1].lower():
                break
    return answers


@pytest.mark.parametrize("name", list(cases(World())))
async def test_what_is_sent_again_is_answered_alike(
    name: str, world: World, ports: dict[str, int]
) -> None:
    sent = cases(world)[name]
    fast, asgi = [await again_and_again(ports[lane], sent) for lane in LANES]
    assert fast == asgi
    assert len(set(fast)) == 1
    assert fast[0].startswith(b"HTTP/1.1 ")


async def test_heads_of_admitted_requests_are_known_on_every_connection(
    gateway: Gateway, engine: FakeEngine, world: World, ports: dict[str, int]
) -> None:
    for body in (b'{"n": 1}', b'{"n": 2}', b'{"n": 3}'):
        answer = await talk(ports["fast"], request(world.key, body))
        assert answer.endswith(body)
    assert len(gateway.fast_lane.heads) == 1
    assert [frame.body for frame in engine.frames] == [b'{"n": 1}', b'{"n": 2}', b'{"n": 3}']


async def test_heads_of_refused_requests_and_of_those_that_do_not_repeat_are_not(
    gateway: Gateway, world: World, ports: dict[str, int]
) -> None:
    chunked = {"Transfer-Encoding": "chunked"}
    for sent in (
        request("tw_live_bad"),
        request(world.stranger_key),
        request(world.key, headers={"X-Request-Id": "one"}),
        request(world.key, headers={"traceparent": f"00-{'1' * 32}-{'2' * 16}-00"}),
        request(world.key, headers={"Connection": "close"}),
        request(world.key, headers={"Expect": "100-continue"}),
        request(world.key, b"2\r\n{}\r\n0\r\n\r\n", headers=chunked, length=False),
        request(world.key, method=b"GET", path=b"/v2/models/iris"),
        request(world.key, headers={"X-Long": "x" * 2048}),
    ):
        await talk(ports["fast"], sent)
    assert not len(gateway.fast_lane.heads)


async def test_a_revoked_key_is_refused_though_its_head_is_known(
    gateway: Gateway, world: World, ports: dict[str, int]
) -> None:
    keys = [(kind, key, None) for kind, key, _ in world.changes() if kind == "key"]
    async with connection(ports["fast"]) as (reader, writer), asyncio.timeout(20):
        statuses = []
        for revoked in (False, False, True):
            if revoked:
                gateway.catalog.apply(keys, False)
            writer.write(request(world.key))
            statuses.append((await answer_to(reader)).split()[1])
    assert statuses == [b"200", b"200", b"401"]


async def test_a_known_head_may_come_with_any_cut_and_in_a_pipeline(
    engine: FakeEngine, world: World, ports: dict[str, int]
) -> None:
    sent = [request(world.key, b'{"n": %d}' % n) for n in range(4)]
    async with connection(ports["fast"]) as (reader, writer), asyncio.timeout(20):
        writer.write(sent[0])
        assert (await answer_to(reader)).endswith(b'{"n": 0}')
        for at in range(1, len(sent[1])):
            for part in (sent[1][:at], sent[1][at:]):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            assert (await answer_to(reader)).endswith(b'{"n": 1}')
        writer.write(b"".join(sent))
        for number in range(4):
            assert (await answer_to(reader)).endswith(b'{"n": %d}' % number)
        writer.write(sent[2])
        assert (await answer_to(reader)).endswith(b'{"n": 2}')
    assert len(engine.frames) == len(sent[1]) - 1 + 6


async def test_a_body_that_looks_like_a_request_is_a_body(
    engine: FakeEngine, world: World, ports: dict[str, int]
) -> None:
    inner = request(world.key)
    async with connection(ports["fast"]) as (reader, writer), asyncio.timeout(20):
        for _ in range(3):
            writer.write(request(world.key, inner))
            assert (await answer_to(reader)).endswith(inner)
    assert [frame.body for frame in engine.frames] == [inner] * 3


async def test_nothing_is_read_after_a_known_head_that_was_answered_with_an_end(
    gateway: Gateway, engine: FakeEngine, world: World, ports: dict[str, int]
) -> None:
    known, last = request(world.key), request(world.key, headers={"Connection": "close"})
    await talk(ports["fast"], known)
    assert len(gateway.fast_lane.heads) == 1
    answer = await talk(ports["fast"], last + known, known)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert len(engine.frames) == 2


def test_heads_are_found_where_all_readers_agree_on_their_end() -> None:
    head = b"POST /v2 HTTP/1.1\r\nHost: x\r\n\r\n"
    assert head_of(head + b"body\r\n\r\n") == head
    assert is_memorable(head)
    for other in (
        b"POST /v2 HTTP/1.1\r\nHost: x\n\r\nbody\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: x\r\n",
        b"\r\n\r\n" + head,
        b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /" + b"x" * 3000 + b"\r\n\r\n",
    ):
        assert not is_memorable(head_of(other))


def test_heads_are_bounded() -> None:
    heads = KnownHeads()
    for number in range(MOST + 1):
        heads.learn(b"%d" % number, KnownHead(Call(model="iris"), 0))
    assert len(heads) == 1
