"""A plan's limits at the gateway: what callers are told, and that every place is given back.

Everything runs with counters in memory and in a real Redis, on both lanes.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from gateway.app import Gateway, GatewaySecrets
from gateway.limiting import Limiting
from gateway.settings import GatewaySettings
from policies.plans import Plans
from protocol.configuration import PlanDoc, QuotaDoc, RateDoc, SubscriptionDoc
from protocol.frames import Frame
from runtime.start import StartError
from tests.fixtures.redis import RedisServer
from tests.gateway.conftest import until
from tests.gateway.documents import ORIGIN, World, worker
from tests.gateway.fake_engine import FakeEngine, echo
from tests.gateway.test_lanes import LANES, connection, request, talk

INFER = "/v2/models/iris/infer"


@pytest.fixture(params=["memory", "redis"])
def settings(settings: GatewaySettings, request: pytest.FixtureRequest) -> GatewaySettings:
    if request.param == "memory":
        return settings
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    # A busy machine is not what is tested here.
    update = {"counters": "redis", "redis_url": SecretStr(server.url), "redis_timeout_ms": 5_000}
    return settings.model_copy(update=update)


def use(gateway: Gateway, **terms: object) -> None:
    """Put the world's subscription under a plan of these terms."""
    plan = PlanDoc(name="limited", **terms)  # type: ignore[arg-type]
    subscription = SubscriptionDoc(application="shop", model="iris", plan="limited")
    gateway.catalog.apply(
        [("plan", "limited", plan), ("subscription", "shop/iris", subscription)], False
    )


def rate(requests: int, window_s: int = 60, burst: int | None = None) -> tuple[RateDoc, ...]:
    return (RateDoc(name="burst", requests=requests, window_s=window_s, burst=burst),)


def header(answer: bytes, name: str) -> str | None:
    for line in answer.split(b"\r\n\r\n")[0].split(b"\r\n"):
        key, _, value = line.partition(b": ")
        if key.decode().lower() == name:
            return value.decode()
    return None


async def test_every_answer_to_a_subscriber_tells_its_limits(
    gateway: Gateway, client: httpx.AsyncClient
) -> None:
    use(gateway, rates=rate(3), quota=QuotaDoc(limit=9, period="day"), concurrency=2)
    policy = '"burst";q=3;w=60, "quota";q=9;w=86400, "concurrency";q=2;qu="concurrent-requests"'
    seen = []
    for path, status in [
        (INFER, 200),
        ("/v2/models/iris/versions/9/infer", 404),
        ("/v2/models/iris/versions/4/infer", 410),
        ("/v2/models/iris/versions/1/infer", 503),
        (INFER, 200),
        (INFER, 429),
    ]:
        answer = await client.post(path, content=b"{}")
        assert answer.status_code == status
        assert answer.headers["ratelimit-policy"] == policy
        seen.append(answer.headers["ratelimit"].split(", ")[0].split(";")[1])
        assert answer.headers["ratelimit"].endswith('"concurrency";r=1') == (status in {200, 503})
    assert seen == ["r=2", "r=2", "r=2", "r=1", "r=0", "r=0"]
    large = await client.post(INFER, content=b"x" * 100_001)
    assert (large.status_code, "ratelimit" in large.headers) == (413, True)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("content-type", "text/plain", 415),
        ("content-encoding", "br", 415),
        ("accept", "text/html", 406),
        ("tollway-deadline-ms", "soon", 400),
    ],
)
async def test_headers_that_cannot_be_honoured_use_up_nothing_and_tell_the_limits(
    gateway: Gateway, client: httpx.AsyncClient, name: str, value: str, status: int
) -> None:
    use(gateway, rates=rate(3))
    for _ in range(5):
        answer = await client.post(INFER, content=b"{}", headers={name: value})
        assert answer.status_code == status
        assert answer.headers["ratelimit"].startswith('"burst";r=3;')
    stranger = await client.post(INFER, headers={name: value, "x-api-key": "no"})
    assert stranger.status_code == 401


async def test_strangers_and_managers_are_told_of_no_limits(
    gateway: Gateway, client: httpx.AsyncClient, world: World
) -> None:
    use(gateway, rates=rate(1))
    for key, status in ((world.stranger_key, 403), (world.admin, 200), (world.admin, 200)):
        answer = await client.post(INFER, content=b"{}", headers={"x-api-key": key})
        assert answer.status_code == status
        assert "ratelimit" not in answer.headers
        assert "ratelimit-policy" not in answer.headers


async def test_a_plan_without_limits_has_no_headers(client: httpx.AsyncClient) -> None:
    answer = await client.post(INFER, content=b"{}")
    assert answer.status_code == 200
    assert "ratelimit-policy" not in answer.headers


async def test_a_refusal_says_which_limit_and_when_to_come_back(
    gateway: Gateway, client: httpx.AsyncClient
) -> None:
    use(gateway, rates=rate(1))
    await client.post(INFER, content=b"{}")
    refused = await client.post(INFER, content=b"{}")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "60"
    assert refused.json()["error"] == (
        "rate limit 'burst' of plan 'limited' is used up: 1 requests in 60 s; try again in 60 s"
    )
    use(gateway, quota=QuotaDoc(limit=1))
    refused = await client.post(INFER, content=b"{}")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert re.fullmatch(
        r"the quota of plan 'limited', 1 requests a month, is used up; try again in \d+ s, "
        r"at \d{4}-\d\d-01 00:00:0[0-2] UTC, when the next period begins, or ask for another plan",
        refused.json()["error"],
    )


async def test_a_quota_that_is_too_small_for_one_more_request_says_so(
    gateway: Gateway, client: httpx.AsyncClient
) -> None:
    use(gateway, quota=QuotaDoc(limit=5, unit="rows"), max_rows=5)
    assert (await client.post(INFER, content=b"{}")).status_code == 200
    refused = await client.post(INFER, content=b"{}")
    assert refused.status_code == 429
    assert refused.json()["error"].startswith(
        "the quota of plan 'limited', 5 rows a month, does not suffice for another request: "
        "4 are left, and one request may need 5; try again in "
    )


@pytest.mark.parametrize("empty", [False, True])
async def test_counters_in_redis_without_its_url_name_the_setting(
    gateway: Gateway, settings: GatewaySettings, tmp_path: Path, empty: bool
) -> None:
    (tmp_path / "url").write_text("\n")
    file = tmp_path / "url" if empty else None
    update = {"counters": "redis", "redis_url": None, "redis_url_file": file}
    with pytest.raises(StartError, match="TOLLWAY_REDIS_URL_FILE"):
        Limiting(
            settings.model_copy(update=update),
            Plans(),
            gateway.usage,
            tmp_path,
            now=time.time,
            monotonic=time.monotonic,
        )


async def test_another_plan_lifts_a_throttle_at_once(
    gateway: Gateway, client: httpx.AsyncClient
) -> None:
    use(gateway, rates=rate(1))
    assert (await client.post(INFER, content=b"{}")).status_code == 200
    assert (await client.post(INFER, content=b"{}")).status_code == 429
    use(gateway, rates=rate(10))
    assert (await client.post(INFER, content=b"{}")).headers["ratelimit"].startswith('"burst";r=8')


async def test_a_lone_client_that_obeys_is_never_refused_twice_in_a_row(
    gateway: Gateway, client: httpx.AsyncClient
) -> None:
    use(gateway, rates=(*rate(3, 1), RateDoc(name="pace", requests=8, window_s=2, burst=2)))
    refusals, refused_before = 0, False
    ends = time.monotonic() + 10
    while refusals < 3 or refused_before:
        assert time.monotonic() < ends
        answer = await client.post(INFER, content=b"{}")
        refused = answer.status_code == 429
        assert not (refused and refused_before)
        refused_before = refused
        if refused:
            refusals += 1
            await asyncio.sleep(int(answer.headers["retry-after"]))


async def status(port: int, key: str) -> int:
    answer = await talk(port, request(key, headers={"Connection": "close"}))
    return int(answer.split(b" ", 2)[1])


@asynccontextmanager
async def taken(port: int, *parts: bytes) -> AsyncIterator[None]:
    """A connection that has sent these parts, and is closed at the end."""
    async with connection(port) as (_, writer):
        for part in parts:
            writer.write(part)
            await writer.drain()
        yield


async def free(port: int, key: str) -> None:
    """Return once a place is free again."""
    async with asyncio.timeout(5):
        while await status(port, key) == 429:  # noqa: ASYNC110 -- another connection's end
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("lane", LANES)
async def test_a_place_is_given_back_however_a_request_ends(
    gateway: Gateway, world: World, engine: FakeEngine, ports: dict[str, int], lane: str
) -> None:
    port, key = ports[lane], world.key
    use(gateway, concurrency=1, quota=QuotaDoc(limit=1000))
    half = request(key, b"{", headers={"Content-Length": "2"})
    silent: Callable[[FakeEngine, asyncio.Transport, Frame], None] = lambda *_: None  # noqa: E731

    # Answered.
    assert [await status(port, key) for _ in range(3)] == [200] * 3
    # The client goes away before its body is complete.
    async with taken(port, half):
        await refused(port, key)
    await free(port, key)
    # The body is not complete by the deadline.
    late = request(key, b"{", headers={"Content-Length": "2", "Tollway-Deadline-Ms": "50"})
    assert b" 504 " in await talk(port, late)
    assert await status(port, key) == 200
    # The body grows too large.
    large = request(key, headers={"Transfer-Encoding": "chunked"}, length=False)
    large = large.removesuffix(b"{}") + b"186a1\r\n" + b"x" * 100_001 + b"\r\n0\r\n\r\n"
    assert b" 413 " in await talk(port, large)
    assert await status(port, key) == 200
    # The engine does not answer by the deadline, or never does and the client goes away.
    engine.behave = silent
    deadline = {"Tollway-Deadline-Ms": "50", "Connection": "close"}
    assert b" 504 " in await talk(port, request(key, headers=deadline))
    async with taken(port, request(key, headers={"Tollway-Deadline-Ms": "300"})):
        await refused(port, key)
    engine.behave = echo
    await free(port, key)
    # No engine is there.
    for _ in range(2):
        gone = request(
            key, path=b"/v2/models/iris/versions/1/infer", headers={"Connection": "close"}
        )
        assert b" 503 " in await talk(port, gone)
    # The engine is lost with the request.
    engine.behave = lambda _engine, transport, _frame: transport.abort()
    assert await status(port, key) == 503
    await until(lambda: gateway.upstream.is_ready(("iris", 2)), 10)
    engine.behave = echo
    assert await status(port, key) == 200


async def refused(port: int, key: str) -> None:
    """Return once the only place is taken."""
    async with asyncio.timeout(5):
        while await status(port, key) != 429:  # noqa: ASYNC110 -- another connection's request
            await asyncio.sleep(0.01)


async def test_a_cancelled_request_gives_its_place_back(
    gateway: Gateway, client: httpx.AsyncClient
) -> None:
    use(gateway, concurrency=1)

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    for pause_s in (0.0, 0.0001, 0.001, 0.05):
        task = asyncio.create_task(client.post(INFER, content=endless()))
        await asyncio.sleep(pause_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(5):
            while (await client.post(INFER, content=b"{}")).status_code == 429:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@pytest.mark.parametrize("lane", LANES)
async def test_parallel_requests_do_not_pass_a_limit(
    gateway: Gateway, world: World, ports: dict[str, int], lane: str
) -> None:
    use(gateway, rates=rate(20))
    found = await asyncio.gather(*(status(ports[lane], world.key) for _ in range(60)))
    assert found.count(200) == 20
    assert found.count(429) == 40


async def test_a_restarted_gateway_remembers_what_was_used(
    settings: GatewaySettings, world: World, engine: FakeEngine
) -> None:
    for round_ in range(3):
        built = Gateway(settings, GatewaySecrets.read(settings))
        built.catalog.apply([*world.changes(), worker((2, engine.path))], True)
        use(built, rates=rate(100), quota=QuotaDoc(limit=100, unit="rows"))
        async with built.running():
            built.follower.synchronised.set()
            await until(lambda built=built: built.upstream.is_ready(("iris", 2)))  # type: ignore[misc]
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(built.application),
                base_url="http://gateway",
                headers={"x-api-key": world.key},
            ) as client:
                for sent in range(4):
                    answer = await client.post(INFER, content=b"{}")
                    counted = 4 * round_ + sent + 1
                    burst, quota = answer.headers["ratelimit"].split(", ")
                    assert burst.startswith(f'"burst";r={100 - counted};')
                    assert quota.startswith(f'"quota";r={100 - counted};')


async def test_statistics_tell_the_limits_and_use_up_nothing(
    gateway: Gateway, client: httpx.AsyncClient, world: World
) -> None:
    stats = "/v2/models/iris/stats"
    use(gateway, rates=rate(2), quota=QuotaDoc(limit=9, period="day"))
    await client.post(INFER, content=b"{}")
    for path, status in ((stats, 200), (stats, 200), ("/v2/models/iris/versions/9/stats", 404)):
        answer = await client.get(path)
        assert answer.status_code == status
        assert answer.headers["ratelimit-policy"] == '"burst";q=2;w=60, "quota";q=9;w=86400'
        assert answer.headers["ratelimit"].startswith('"burst";r=1;t=60, "quota";r=8;')
    await client.post(INFER, content=b"{}")
    used_up = await client.get(stats)
    assert used_up.status_code == 200
    assert used_up.headers["ratelimit"].startswith('"burst";r=0;')
    for key, status in ((world.stranger_key, 403), (world.admin, 200), ("nobody's", 401)):
        answer = await client.get(stats, headers={"x-api-key": key})
        assert answer.status_code == status
        assert "ratelimit-policy" not in answer.headers
    unknown = await client.get("/v2/models/nothing/stats")
    assert unknown.status_code == 404
    assert "ratelimit-policy" not in unknown.headers


@pytest.mark.parametrize("lane", LANES)
async def test_a_page_reads_its_refusals_and_every_header_that_tells_it_something(
    gateway: Gateway, world: World, ports: dict[str, int], lane: str
) -> None:
    plan = PlanDoc(name="paged", rates=rate(1), scopes=("predict",))
    subscription = SubscriptionDoc(application="pages", model="iris", plan="paged")
    gateway.catalog.apply(
        [("plan", "paged", plan), ("subscription", "pages/iris", subscription)], False
    )
    page = {"Origin": ORIGIN, "Connection": "close"}
    asks = request(world.page_key, headers=page)
    stats = request(world.page_key, b"", path=b"/v2/models/iris/stats", method=b"GET", headers=page)
    for sent, status, told in (
        (asks, 200, {"ratelimit", "ratelimit-policy", "server-timing", "tollway-version"}),
        (asks, 429, {"ratelimit", "ratelimit-policy", "retry-after", "tollway-prediction-id"}),
        (stats, 403, {"ratelimit", "ratelimit-policy"}),
    ):
        answer = await talk(ports[lane], sent)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert header(answer, "access-control-allow-origin") == ORIGIN
        assert header(answer, "vary") == "Origin"
        exposed = (header(answer, "access-control-expose-headers") or "").lower().split(", ")
        assert told <= headers_of(answer) & set(exposed)
        hidden = headers_of(answer) - set(exposed) - ALWAYS_READABLE - NOT_FOR_PAGES
        assert hidden == set()


ALWAYS_READABLE = {"content-length", "content-type"}
"""The Fetch standard's safelist, as far as it is sent here."""
NOT_FOR_PAGES = {
    "access-control-allow-origin", "access-control-expose-headers", "connection", "date", "vary",
}  # fmt: skip


def headers_of(answer: bytes) -> set[str]:
    lines = answer.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return {line.partition(b":")[0].decode().lower() for line in lines}
