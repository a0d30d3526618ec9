"""What callers of a version that ends are told, on both lanes and both protocols."""

import re
import time
from collections.abc import Callable

import httpx
import msgspec
import pytest

from gateway.app import Gateway
from gateway.endings import EndingHeaders, ending_headers
from protocol.configuration import BrownoutDoc, DeprecationDoc, ModelDoc, VersionState
from tests.gateway.documents import World, version
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.sockets import LANES, request, talk

SUNSET = 1_830_297_600
ENDING = DeprecationDoc(
    since=1_798_761_600, sunset=SUNSET, successor=1, note="Ask ann@example.org."
)
TOLD = {
    b"deprecation": b"@1798761600",
    b"sunset": b"Sat, 01 Jan 2028 00:00:00 GMT",
    b"link": b'</v2/models/iris/versions/1>; rel="successor-version"',
}
NOTHING: dict[bytes, bytes] = {}
PATHS = (
    b"/v2/models/iris/infer",
    b"/v2/models/iris/versions/2/infer",
    b"/v1/models/iris:predict",
    b"/v1/models/iris/versions/2:predict",
    b"/v1/models/iris/labels/stable:predict",
)
End = Callable[..., None]


@pytest.fixture
def end(gateway: Gateway) -> End:
    """Give iris version 2, which is stable, an end."""

    def put(deprecation: DeprecationDoc = ENDING, state: VersionState = "deprecated") -> None:
        document = msgspec.structs.replace(version("iris", 2, state), deprecation=deprecation)
        gateway.catalog.apply([("version", "iris/2", document)], False)

    return put


def told(answer: bytes) -> dict[bytes, bytes]:
    """The headers about the end, in whichever of two forms."""
    head = answer.partition(b"\r\n\r\n")[0].lower()
    return {name: re.findall(b"\r\n" + name + b": ([^\r]*)", head)[0] for name in TOLD}


def lowered(headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {name: value.lower() for name, value in headers.items()}


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_of_a_deprecated_version_says_when_it_ends(
    path: bytes, world: World, ports: dict[str, int], end: End
) -> None:
    end()
    for lane in LANES:
        answer = await talk(ports[lane], request(world.key, path=path))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert told(answer) == lowered(TOLD)


async def test_errors_of_a_deprecated_version_say_so_too(
    world: World, ports: dict[str, int], end: End, engine: FakeEngine
) -> None:
    end()
    engine.behave = lambda e, t, f: e.reply(t, f, 400, b'{"error": "no"}')
    refusals = (
        (request(world.key), 400),
        (request(world.stranger_key), 403),
        (request(world.key, headers={"Content-Type": "text/plain"}), 415),
        (request(world.key, b"x" * 100_001), 413),
    )
    for lane in LANES:
        for sent, status in refusals:
            answer = await talk(ports[lane], sent)
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert told(answer) == lowered(TOLD)


async def test_answers_of_other_versions_say_nothing(
    world: World, ports: dict[str, int], gateway: Gateway, end: End
) -> None:
    for lane in LANES:
        answer = (await talk(ports[lane], request(world.key))).lower()
        assert not [name for name in TOLD if b"\r\n" + name + b":" in answer]


async def test_what_is_not_decided_is_not_told() -> None:
    assert ending_headers("iris", DeprecationDoc(since=5)) == [(b"deprecation", b"@5")]


async def test_headers_are_made_once_for_each_document() -> None:
    made = EndingHeaders()
    changed = msgspec.structs.replace(ENDING, successor=3)

    first = made.of("iris", 2, ENDING)

    assert made.of("iris", 2, ENDING) is first
    assert made.of("iris", 2, changed) != first
    assert made.of("iris", 1, None) == []


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/iris",
        "/v2/models/iris/ready",
        "/v2/models/iris/config",
        "/v2/models/iris/versions/2",
        "/v1/models/iris",
        "/v1/models/iris/metadata",
        "/v1/models/iris/labels/stable/metadata",
    ],
)
async def test_metadata_of_a_deprecated_version_says_when_it_ends(
    path: str, client: httpx.AsyncClient, end: End
) -> None:
    end()
    answer = await client.get(path)
    assert answer.status_code == 200
    assert {n: answer.headers[n.decode()].encode() for n in TOLD} == TOLD


async def test_a_retired_version_is_gone_and_names_its_successor(
    world: World, ports: dict[str, int], end: End, client: httpx.AsyncClient
) -> None:
    end(state="retired")
    for lane in LANES:
        answer = await talk(ports[lane], request(world.key, path=PATHS[1]))
        assert answer.startswith(b"HTTP/1.1 410 ")
        assert told(answer) == lowered(TOLD)
        assert (
            b"version 2 of 'iris' was retired: call its successor, version 1. Ask ann@example.org."
            in answer
        )
    read = await client.get("/v2/models/iris/versions/2")
    assert read.status_code == 410
    assert read.headers["link"].encode() == TOLD[b"link"]


def browned_out(left_s: float = 100.0) -> DeprecationDoc:
    now = time.time()
    windows = (
        BrownoutDoc(start=int(now) - 900, end=int(now) - 800),
        BrownoutDoc(start=int(now) - 10, end=int(now + left_s)),
    )
    return msgspec.structs.replace(ENDING, brownouts=windows)


async def test_in_a_brown_out_calls_that_name_the_version_are_refused_until_its_end(
    world: World, ports: dict[str, int], end: End
) -> None:
    end(browned_out())
    sent = (
        request(world.key, path=PATHS[1]),
        request(world.key, path=PATHS[3]),
        request(world.key, headers={"Tollway-Version": "2"}),
    )
    for lane in LANES:
        for one in sent:
            answer = await talk(ports[lane], one)
            assert answer.startswith(b"HTTP/1.1 410 ")
            assert told(answer) == lowered(TOLD)
            assert b"call its successor, version 1. Ask ann@example.org." in answer
            (left,) = re.findall(rb"retry-after: (\d+)", answer)
            assert 90 <= int(left) <= 101


async def test_in_a_brown_out_whom_the_rollout_or_a_label_sent_is_answered(
    world: World, ports: dict[str, int], end: End, gateway: Gateway
) -> None:
    end(browned_out())
    aliases = {"stable": 2, "next": 2}
    gateway.catalog.apply([("model", "iris", ModelDoc(name="iris", aliases=aliases))], False)
    for lane in LANES:
        for path in (PATHS[0], PATHS[2], b"/v1/models/iris/labels/next:predict"):
            answer = await talk(ports[lane], request(world.key, path=path))
            assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_brown_out_ends_by_the_gateways_clock(
    world: World, ports: dict[str, int], end: End
) -> None:
    end(browned_out(left_s=-1))
    answer = await talk(ports["fast"], request(world.key, path=PATHS[1]))
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_metadata_stays_readable_in_a_brown_out(client: httpx.AsyncClient, end: End) -> None:
    end(browned_out())
    assert (await client.get("/v2/models/iris/versions/2")).status_code == 200


async def test_who_may_not_call_the_model_learns_of_no_brown_out(
    world: World, ports: dict[str, int], end: End
) -> None:
    end(browned_out())
    answer = await talk(ports["fast"], request(world.stranger_key, path=PATHS[1]))
    assert answer.startswith(b"HTTP/1.1 403 ")
