"""Both lanes give the same answers, byte for byte, and keep HTTP's promises; by raw sockets."""

import asyncio
import gc
import re
import weakref

import pytest

from gateway.app import Gateway
from gateway.lane import read_headers
from policies.base import Call
from policies.chain import Chain
from policies.request_headers import RequestHeadersPolicy
from protocol.errors import Code, TollwayError
from protocol.frames import Frame
from tests.gateway.conftest import until
from tests.gateway.documents import ORIGIN, World
from tests.gateway.fake_engine import FakeEngine, echo
from tests.gateway.sockets import INFER, LANES, connection, request, talk


def preflight(path: bytes, origin: str) -> bytes:
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST", "X-API-Key": ""}
    return request("", b"", path=path, method=b"OPTIONS", headers=asks)


VOLATILE = [
    (rb"date: [^\r]*", b"date: D"),
    (rb"tollway-prediction-id: [^\r]*", b"tollway-prediction-id: P"),
    (rb"x-request-id: [0-9a-f]{16}(-[0-9a-f]+)*", b"x-request-id: P"),
    (rb"gateway;dur=[0-9.]*", b"gateway;dur=T"),
]


def settled(answer: bytes) -> bytes:
    for pattern, constant in VOLATILE:
        answer = re.sub(pattern, constant, answer)
    return answer


def cases(world: World) -> dict[str, bytes]:
    key = world.key
    return {
        "plain": request(key),
        "body": request(key, b'{"x": 1}' * 100),
        "query": request(key, path=INFER + b"?a=1"),
        "percent": request(key, path=b"/v2/models/%69ris/infer"),
        "v1": request(key, path=b"/v1/models/iris:predict"),
        "label": request(key, path=b"/v1/models/iris/labels/stable:predict"),
        "version": request(key, path=b"/v2/models/iris/versions/2/infer"),
        "retired": request(key, path=b"/v2/models/iris/versions/4/infer"),
        "no engine": request(key, path=b"/v2/models/iris/versions/1/infer"),
        "unknown model": request(key, path=b"/v2/models/nothing/infer"),
        "unknown version": request(key, path=b"/v2/models/iris/versions/x/infer"),
        "bad key": request("tw_live_bad"),
        "no key": request(key, headers={"X-API-Key": ""}),
        "bearer": request(key, headers={"X-API-Key": "", "Authorization": f"Bearer {key}"}),
        "stranger": request(world.stranger_key),
        "media type": request(key, headers={"Content-Type": "text/plain"}),
        "accept": request(key, headers={"Accept": "text/html"}),
        "deadline": request(key, headers={"Tollway-Deadline-Ms": "x"}),
        "white space": request(
            key,
            headers={"X-API-Key": f"{key} ", "Content-Length": "2 \t", "Tollway-Version": "2\t"},
        ),
        "repeated": request(
            key, headers={"Tollway-Deadline-Ms": "900", "tollway-deadline-ms": "1000"}
        ),
        "request id": request(key, headers={"X-Request-Id": "abc"}),
        "too large": request(key, b"x" * 100_001),
        "far too large": request(key, headers={"Content-Length": "9" * 19}, length=False),
        "get": request(key, method=b"GET", path=INFER),
        "close": request(key, headers={"Connection": "close"}),
        "http/1.0": request(key).replace(b"HTTP/1.1", b"HTTP/1.0"),
        "chunked": request(
            key, b"2\r\n{}\r\n0\r\n\r\n", headers={"Transfer-Encoding": "chunked"}, length=False
        ),
        "chunked too large": request(
            key, b"186a1\r\n" + b"x" * 100_001 + b"\r\n0\r\n\r\n",
            headers={"Transfer-Encoding": "chunked"}, length=False,
        ),
        "empty": request(key, b""),
        "absolute form": request(key, path=b"http://gateway" + INFER),
        "not http": b"hello\r\n\r\n",
        "two lengths": request(key, headers={"content-length": "3"}),
        "length and chunked": request(key, b"0\r\n\r\n", headers={"Transfer-Encoding": "chunked"}),
        "health": request(key, method=b"GET", path=b"/v2/health/live"),
        "network": request(world.far_key),
        "near network": request(world.near_key),
        "claimed address": request(world.far_key, headers={"X-Forwarded-For": "203.0.113.9"}),
        "scope": request(world.narrow_key),
        "scope of the plan": request(world.page_key, path=b"/v1/models/iris:explain"),
        "test key": request(world.test_key),
        "auditor": request(world.auditor),
        "another publisher": request(world.publisher),
        "another publisher's staged": request(
            world.publisher, path=b"/v2/models/iris/versions/3/infer"
        ),
        "page": request(world.page_key, headers={"Origin": ORIGIN}),
        "page and error": request(
            world.page_key, path=b"/v2/models/iris/versions/9/infer", headers={"Origin": ORIGIN}
        ),
        "page of another application": request(key, headers={"Origin": ORIGIN}),
        "page of another site": request(world.page_key, headers={"Origin": "https://evil.example"}),
        "page without a key": request(key, headers={"Origin": ORIGIN, "X-API-Key": "no"}),
        "page of another site without a key": request(
            "no", headers={"Origin": "https://evil.example"}
        ),
        "page and media type": request(
            key, headers={"Content-Type": "text/plain", "Origin": ORIGIN}
        ),
        "page and get": request(key, method=b"GET", path=INFER, headers={"Origin": ORIGIN}),
        "page and metadata without a key": request(
            "", method=b"GET", path=b"/v1/models/iris/metadata", headers={"Origin": ORIGIN}
        ),
        "preflight": preflight(INFER, ORIGIN),
        "preflight of another site": preflight(INFER, "https://evil.example"),
        "preflight of metadata": preflight(b"/v2/models/iris", ORIGIN),
        "options": request(key, method=b"OPTIONS"),
        "page and metadata": request(
            world.page_key, method=b"GET", path=b"/v2/models/iris", headers={"Origin": ORIGIN}
        ),
        "page of another application and metadata": request(
            key, method=b"GET", path=b"/v2/models/iris", headers={"Origin": ORIGIN}
        ),
        "plan's body": request(world.page_key, b"x" * 100),
        "plan's body too large": request(world.page_key, b"x" * 101),
        "plan's chunked body too large": request(
            world.page_key, b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n",
            headers={"Transfer-Encoding": "chunked"}, length=False,
        ),
    }  # fmt: skip


NAMES = list(cases(World()))


@pytest.mark.parametrize("name", NAMES)
async def test_lanes_answer_alike(name: str, world: World, ports: dict[str, int]) -> None:
    sent = cases(world)[name]
    fast, asgi = await asyncio.gather(*(talk(ports[lane], sent) for lane in LANES))
    assert settled(fast) == settled(asgi)
    assert fast.startswith(b"HTTP/1.1 ")


async def test_white_space_around_a_value_is_none_of_it(
    world: World, ports: dict[str, int]
) -> None:
    for lane in LANES:
        assert b" 200 OK" in await talk(ports[lane], cases(world)["white space"])


async def test_a_field_that_a_request_has_once_is_refused_when_it_has_two(
    world: World, ports: dict[str, int]
) -> None:
    for lane in LANES:
        answer = await talk(ports[lane], cases(world)["repeated"])
        assert b" 400 " in answer
        assert b"'tollway-deadline-ms' is repeated" in answer


async def test_request_cut_at_any_place_is_understood(world: World, ports: dict[str, int]) -> None:
    sent = request(world.key, b'{"cut": "me"}', headers={"Connection": "close"})
    whole = settled(await talk(ports["fast"], sent))
    assert whole.endswith(b'{"cut": "me"}')

    async def cut(at: int) -> bytes:
        return settled(await talk(ports["fast"], sent[:at], sent[at:]))

    for start in range(1, len(sent), 40):
        found = await asyncio.gather(*(cut(at) for at in range(start, min(start + 40, len(sent)))))
        assert set(found) == {whole}


async def test_pipelined_requests_are_answered_in_their_order(
    world: World, ports: dict[str, int]
) -> None:
    sent = [request(world.key, b'{"n": %d}' % n) for n in range(5)]
    sent.insert(2, request(world.key, method=b"GET", path=b"/v2/health/live"))
    sent.insert(4, request("bad-key", b'{"refused": 1}'))
    sent[-1] = request(world.key, b'{"n": 4}', headers={"Connection": "close"})
    for lane in LANES:
        answer = await talk(ports[lane], b"".join(sent))
        bodies = re.findall(rb"\r\n\r\n(\{.*?\})(?=HTTP/1.1|$)", answer)
        assert [b[:9] for b in bodies] == [
            b'{"n": 0}', b'{"n": 1}', b'{"live":t', b'{"n": 2}', b'{"error":', b'{"n": 3}',
            b'{"n": 4}',
        ], lane  # fmt: skip


async def test_one_connection_serves_many_requests(world: World, ports: dict[str, int]) -> None:
    async with connection(ports["fast"]) as (reader, writer):
        for n in range(50):
            body = b'{"n": %d}' % n
            writer.write(request(world.key, body))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert await reader.readexactly(len(body)) == body


async def test_idle_connection_is_closed_after_its_time(
    world: World, ports: dict[str, int]
) -> None:
    answer = await talk(ports["fast"], request(world.key))  # returns when the server closes
    assert b"200 OK" in answer


async def test_expect_100_continue_is_answered_only_when_admitted(
    world: World, ports: dict[str, int]
) -> None:
    cases = ((world.key, b"HTTP/1.1 100 Continue"), ("bad", b"HTTP/1.1 401"))
    for lane, (key, expected) in [(lane, case) for lane in LANES for case in cases]:
        sent = request(key, b"{}", headers={"Expect": "100-continue"})
        async with connection(ports[lane]) as (reader, writer):
            writer.write(sent[:-2])
            assert (await reader.readline()).startswith(expected)
            if key == world.key:
                await reader.readline()
                writer.write(sent[-2:])
                assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"


async def test_client_that_goes_away_harms_nobody(
    world: World, ports: dict[str, int], engine: FakeEngine, gateway: Gateway
) -> None:
    held: list[tuple[asyncio.Transport, Frame]] = []
    engine.behave = lambda _e, transport, frame: held.append((transport, frame))
    async with connection(ports["fast"]) as (_, writer):
        writer.write(request(world.key))
        await until(lambda: len(held) == 1)
        writer.transport.abort()
    engine.reply(*held[0], 200, b"{}")
    await until(lambda: gateway.upstream.in_flight() == 0)
    engine.behave = echo
    assert b"200 OK" in await talk(ports["fast"], request(world.key))


async def test_client_that_does_not_read_is_not_worked_for(
    world: World, ports: dict[str, int], engine: FakeEngine
) -> None:
    large = b"y" * 1_000_000
    engine.behave = lambda e, t, f: e.reply(t, f, 200, large)
    count = 60
    async with connection(ports["fast"], limit=1024) as (reader, writer):
        writer.write(request(world.key) * count)
        seen = -1
        async with asyncio.timeout(20):
            while seen < len(engine.frames):  # until it has stopped asking the engine
                seen = len(engine.frames)
                await asyncio.sleep(0.2)
        assert 0 < seen < count
        received = 0
        async with asyncio.timeout(20):
            while received < count * len(large):
                received += len(part := await reader.read(1 << 20))
                assert part, "closed before everything was read"
    assert len(engine.frames) == count


async def test_head_without_end_is_cut_off(world: World, ports: dict[str, int]) -> None:
    endless = request(world.key)[:-4] + b"".join(
        b"X-%d: %b\r\n" % (n, b"y" * 900) for n in range(80)
    )
    for lane in LANES:
        answer = await talk(ports[lane], endless)
        assert answer.startswith(b"HTTP/1.1 431")


async def test_body_that_does_not_come_ends_with_the_deadline(
    world: World, ports: dict[str, int]
) -> None:
    sent = request(world.key, b"0123456789", headers={"Tollway-Deadline-Ms": "60"})
    answers = []
    for lane in LANES:
        async with connection(ports[lane]) as (reader, writer), asyncio.timeout(5):
            writer.write(sent[:-4])
            answers.append(settled(await reader.read()))  # until the server closes
    assert answers[0] == answers[1]
    assert answers[0].startswith(b"HTTP/1.1 504")
    assert b"connection: close" in answers[0]


class Watched(str):
    """A name of which it can be told whether somebody still has it."""

    __slots__ = ("__weakref__",)


def test_a_call_with_bad_headers_leaves_the_memory() -> None:
    call = Call(model=Watched("iris"))
    there = weakref.ref(call.model)
    read_headers(call, [(b"tollway-deadline-ms", b"soon")])
    refusals: list[TollwayError | None] = []
    Chain([RequestHeadersPolicy().check]).run(call, refusals.append)
    (refusal,) = refusals
    assert refusal is not None
    assert refusal.code is Code.MALFORMED
    del call, refusal
    refusals.clear()
    gc.collect()
    assert there() is None
