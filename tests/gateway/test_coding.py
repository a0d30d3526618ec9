"""Bodies in gzip and deflate, both ways, on both lanes."""

import contextlib
import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import coding
from gateway.coding import Inflater, accepted_coding, deflated
from protocol.errors import Code, TollwayError
from tests.gateway.documents import World
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.sockets import LANES, request, talk

LIMIT = 100_000
TOO_LARGE = TollwayError(Code.TOO_LARGE, "too large")
PLAIN = b'{"numbers": [' + b",".join(b"%d" % n for n in range(9000)) + b"]}"


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


ENCODERS = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "members": ("gzip", lambda b: gzip.compress(b[:7]) + gzip.compress(b[7:])),
    "zlib": ("deflate", zlib.compress),
    "raw": ("deflate", raw_deflate),
}


def inflated(name: bytes, body: bytes, limit: int = LIMIT) -> bytes:
    return Inflater(name, body, limit, TOO_LARGE).finish()


@given(st.binary(max_size=5000), st.sampled_from([b"gzip", b"deflate"]))
def test_what_was_deflated_is_inflated_to_itself(body: bytes, name: bytes) -> None:
    assert inflated(name, deflated(name, body)) == body


@given(st.binary(max_size=5000), st.integers(0, 9))
def test_raw_deflate_is_told_from_zlib(body: bytes, level: int) -> None:
    stream = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    assert inflated(b"deflate", stream.compress(body) + stream.flush()) == body


@given(st.binary(max_size=300), st.sampled_from([b"gzip", b"deflate"]))
def test_any_bytes_are_inflated_or_refused(body: bytes, name: bytes) -> None:
    with contextlib.suppress(TollwayError):  # what is no such data; any other error is a defect
        assert len(inflated(name, body, 1000)) <= 1000


@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT, LIMIT + 1, 50 * LIMIT])
def test_limit_is_kept_to_the_byte(size: int) -> None:
    for name in (b"gzip", b"deflate"):
        sent = deflated(name, b"x" * size)
        if size <= LIMIT:
            assert len(inflated(name, sent)) == size
            continue
        with pytest.raises(TollwayError) as refused:
            inflated(name, sent)
        assert refused.value.code is Code.TOO_LARGE


def test_limit_holds_for_all_members_together() -> None:
    with pytest.raises(TollwayError) as refused:
        inflated(b"gzip", gzip.compress(b"x" * 60_000) * 2)
    assert refused.value.code is Code.TOO_LARGE


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (b"", b""), (b"gzip", b"gzip"), (b"deflate", b"deflate"), (b"GZIP", b"gzip"),
        (b"x-gzip", b"gzip"), (b"gzip, deflate", b"gzip"), (b"deflate, gzip", b"gzip"),
        (b"gzip;q=0.5, deflate;q=0.8", b"deflate"), (b"gzip;q=0", b""), (b"gzip; q=0.000", b""),
        (b"br", b""), (b"br, gzip;q=0.1", b"gzip"), (b"*", b"gzip"), (b"*;q=0", b""),
        (b"gzip;q=0, *", b"deflate"), (b"identity", b""), (b"identity, gzip;q=0.5", b""),
        (b"identity;q=0.5, gzip", b"gzip"), (b"gzip;q=x", b""), (b"gzip;q=-1", b""), (b";,;", b""),
        (b"gzip ; Q=1", b"gzip"),
    ],
)  # fmt: skip
def test_preference_of_the_client_is_read(asked: bytes, found: bytes) -> None:
    assert accepted_coding(asked) == found


def test_long_headers_are_read_and_not_kept() -> None:
    before = len(coding._choices)
    for number in range(5):
        assert accepted_coding(b"x%d, " % number * 100 + b"gzip") == b"gzip"
    assert len(coding._choices) == before


@pytest.mark.parametrize("inline", [1, 1 << 20], ids=["in a thread", "at once"])
@pytest.mark.parametrize("lane", LANES)
async def test_coded_bodies_reach_the_engine_plain(
    lane: str, inline: int, world: World, ports: dict[str, int], engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(coding, "INLINE_BYTES", inline)
    for name, (header, encode) in ENCODERS.items():
        headers = {"Content-Encoding": header, "Connection": "close"}
        answer = await talk(ports[lane], request(world.key, encode(PLAIN), headers=headers))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), name
        assert engine.frames[-1].body == PLAIN
        assert b"content-encoding" not in answer


@pytest.mark.parametrize("inline", [1, 1 << 20], ids=["in a thread", "at once"])
@pytest.mark.parametrize("lane", LANES)
async def test_answers_are_coded_as_asked(
    lane: str, inline: int, world: World, ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coding, "INLINE_BYTES", inline)
    for asked, decode in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        headers = {"Accept-Encoding": asked}
        sent = request(world.key, PLAIN, headers=headers) + request(
            world.key, b'{"small": 1}', headers=headers | {"Connection": "close"}
        )
        answer = await talk(ports[lane], sent)
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert b"\r\ncontent-encoding: %b" % asked.encode() in head
        assert b"\r\nvary: Accept-Encoding" in head
        size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert size < len(PLAIN)
        assert decode(rest[:size]) == PLAIN
        assert b"content-encoding" not in rest[size:]
        assert rest.endswith(b'{"small": 1}')


BAD = {
    "truncated gzip": ("gzip", gzip.compress(PLAIN)[:-9], 400),
    "truncated zlib": ("deflate", zlib.compress(PLAIN)[:-1], 400),
    "truncated deflate": ("deflate", raw_deflate(PLAIN)[:-1], 400),
    "gzip and more": ("gzip", gzip.compress(PLAIN) + b"more", 400),
    "zlib and more": ("deflate", zlib.compress(PLAIN) + b"more", 400),
    "wrong sum": ("gzip", gzip.compress(PLAIN)[:-8] + bytes(8), 400),
    "not gzip": ("gzip", PLAIN, 400),
    "not deflate": ("deflate", PLAIN, 400),
    "zlib as gzip": ("gzip", zlib.compress(PLAIN), 400),
    "nothing": ("gzip", b"", 400),
    "a bomb": ("gzip", gzip.compress(bytes(50_000_000)), 413),
    "a bomb in zlib": ("deflate", zlib.compress(bytes(50_000_000)), 413),
    "two codings": ("gzip, deflate", zlib.compress(gzip.compress(PLAIN)), 415),
    "another coding": ("br", PLAIN, 415),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_coded_bodies_are_refused(
    name: str, world: World, ports: dict[str, int], engine: FakeEngine
) -> None:
    header, body, status = BAD[name]
    sent = request(world.key, body, headers={"Content-Encoding": header, "Connection": "close"})
    for lane in LANES:
        answer = await talk(ports[lane], sent)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert engine.frames == []


@pytest.mark.parametrize("lane", LANES)
async def test_an_answer_that_cannot_be_coded_leaves_plain(
    lane: str, world: World, ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_coding: bytes, _body: bytes) -> bytes:
        raise MemoryError

    monkeypatch.setattr(coding, "INLINE_BYTES", 1)
    monkeypatch.setattr(coding, "deflated", fail)
    headers = {"Accept-Encoding": "gzip", "Connection": "close"}
    answer = await talk(ports[lane], request(world.key, PLAIN, headers=headers))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(PLAIN)
