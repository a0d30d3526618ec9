"""No request can hide in another: what is no proper HTTP/1.1 is answered 400, in its turn, and ends
the connection; nothing of what follows is looked at. On both lanes, and for every path of the port.
"""

import asyncio

import pytest

from gateway.app import Gateway
from runtime import strict_http
from tests.gateway.bad_requests import BODIES, HEADS, TOO_LARGE, spelled
from tests.gateway.documents import World
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.memory import converse
from tests.gateway.sockets import INFER, LANES, configured, request, talk

PATHS = {"infer": INFER, "FastAPI": b"/v2/health/live", "control": b"/api/v1/models"}
AT_ONCE = 50
SMUGGLED = b'{"smuggled": 1}'


def refused(answer: bytes, status: int) -> None:
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.count(b"HTTP/1.1 ") == 1, answer


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("lane", LANES)
async def test_bad_request_is_refused_and_nothing_behind_it_is_done(
    lane: str, path: str, world: World, ports: dict[str, int], engine: FakeEngine
) -> None:
    behind = request(world.key, SMUGGLED)
    for name, bad in (HEADS | BODIES | TOO_LARGE).items():
        sent = spelled(bad, PATHS[path], world.key) + behind
        try:
            refused(await talk(ports[lane], sent), 431 if name in TOO_LARGE else 400)
        except AssertionError as error:
            error.add_note(name)
            raise
    assert engine.frames == []


@pytest.mark.parametrize("before", ["prediction", "FastAPI"])
@pytest.mark.parametrize("lane", LANES)
async def test_request_before_a_bad_one_is_answered_first(
    lane: str, before: str, world: World, ports: dict[str, int], engine: FakeEngine
) -> None:
    good, body = request(world.key, b'{"good": 1}'), b'{"good": 1}'
    if before == "FastAPI":
        good, body = request("", method=b"GET", path=b"/v2/health/live"), b'{"live":true}'
    behind = request(world.key, SMUGGLED)
    all_bad = HEADS | BODIES | TOO_LARGE
    for name, bad in all_bad.items():
        answer = await talk(ports[lane], good + spelled(bad, INFER, world.key) + behind)
        first, found, rest = answer.partition(body)
        assert found, (name, answer)
        assert first.startswith(b"HTTP/1.1 200 ")
        refused(rest, 431 if name in TOO_LARGE else 400)
    assert len(engine.frames) == (len(all_bad) if before == "prediction" else 0)
    assert all(frame.body == body for frame in engine.frames)


@pytest.mark.parametrize("lane", LANES)
async def test_bad_request_cut_at_any_place_is_refused(
    lane: str, world: World, gateway: Gateway, engine: FakeEngine
) -> None:
    config = configured(gateway, lane)
    for name, bad in (HEADS | BODIES).items():
        sent = spelled(bad, INFER, world.key)
        whole = await converse(config, sent)
        refused(whole, 400)
        cuts = [converse(config, sent[:at], sent[at:]) for at in range(1, len(sent))]
        cuts.append(converse(config, *(sent[at : at + 1] for at in range(len(sent)))))
        for start in range(0, len(cuts), AT_ONCE):
            answers = await asyncio.gather(*cuts[start : start + AT_ONCE])
            assert set(answers) == {whole}, name
    assert engine.frames == []


@pytest.mark.parametrize("lane", LANES)
async def test_bad_request_behind_a_good_one_may_be_cut_anywhere(
    lane: str, world: World, gateway: Gateway, engine: FakeEngine
) -> None:
    config = configured(gateway, lane)
    good = request(world.key, b'{"good": 1}')
    for name in ("two lengths", "bare LF after a field", "chunk with 0x", "trailer field"):
        sent = good + spelled((HEADS | BODIES)[name], INFER, world.key) + good
        cuts = [converse(config, sent[:at], sent[at:]) for at in range(1, len(sent))]
        for start in range(0, len(cuts), AT_ONCE):
            engine.frames.clear()
            part = cuts[start : start + AT_ONCE]
            for answer in await asyncio.gather(*part):
                first, found, rest = answer.partition(b'{"good": 1}')
                assert found, (name, answer)
                assert first.startswith(b"HTTP/1.1 200 ")
                refused(rest, 400)
            assert len(engine.frames) == len(part)


@pytest.mark.parametrize("framing", ["length", "chunked", "no body"])
@pytest.mark.parametrize("lane", LANES)
async def test_one_empty_line_before_a_request_is_ignored_wherever_it_is_cut(
    lane: str, framing: str, world: World, gateway: Gateway
) -> None:
    config = configured(gateway, lane)
    chunked = {"Transfer-Encoding": "chunked"}
    asked = {
        "length": request(world.key, b'{"n": 1}'),
        "chunked": request(world.key, b"2\r\n{}\r\n0\r\n\r\n", headers=chunked, length=False),
        "no body": request("", b"", method=b"GET", path=b"/v2/health/live", length=False),
    }[framing]
    sent = b"\r\n" + asked + b"\r\n" + asked
    cuts = [converse(config, sent[:at], sent[at:]) for at in range(1, len(sent))]
    cuts.append(converse(config, sent))
    cuts.append(converse(config, *(sent[at : at + 1] for at in range(len(sent)))))
    for start in range(0, len(cuts), AT_ONCE):
        for answer in await asyncio.gather(*cuts[start : start + AT_ONCE]):
            assert answer.count(b"HTTP/1.1 200 ") == answer.count(b"HTTP/1.1 ") == 2, answer


@pytest.mark.parametrize("half", [b"\r", b"\r\n"])
@pytest.mark.parametrize("lane", LANES)
async def test_an_empty_line_does_not_keep_a_connection_open(
    lane: str, half: bytes, ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strict_http, "HEAD_WITHIN_S", 0.1)
    assert await talk(ports[lane], half) == b""


@pytest.mark.parametrize("lane", LANES)
async def test_an_empty_line_behind_the_last_request_is_no_bad_request(
    lane: str, world: World, ports: dict[str, int]
) -> None:
    last = request(world.key, headers={"Connection": "close"})
    answer = await talk(ports[lane], last + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1
