"""Keys, tokens and pages at the gateway: what is refused reaches no engine, and is recorded."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import Gateway, GatewaySecrets
from gateway.settings import GatewaySettings
from protocol.configuration import ApplicationDoc
from protocol.usage import UsageRecord
from tests.gateway.conftest import until
from tests.gateway.documents import ORIGIN, World, worker
from tests.gateway.fake_engine import FakeEngine

INFER = "/v2/models/iris/infer"
EXPLAIN = "/v1/models/iris:explain"
STATS = "/v2/models/iris/stats"


def records(settings: GatewaySettings) -> list[UsageRecord]:
    (segment,) = (settings.data_dir / "gateway" / "usage").glob("*.usage")
    return [msgspec.json.decode(line, type=UsageRecord) for line in segment.read_text().split()]


@pytest.mark.parametrize(
    ("who", "path", "status", "says"),
    [
        ("far_key", INFER, 403, "127.0.0.1"),
        ("near_key", INFER, 200, ""),
        ("test_key", INFER, 200, ""),
        ("narrow_key", INFER, 403, "scope 'predict'"),
        ("narrow_key", EXPLAIN, 403, "scope 'explain'"),
        ("page_key", INFER, 200, ""),
        ("page_key", EXPLAIN, 403, "plan 'small'"),
        ("auditor", INFER, 403, "role 'auditor'"),
        ("publisher", INFER, 403, "other models"),
        ("publisher", "/v2/models/iris/versions/3/infer", 404, "version 3"),
        ("publisher", "/v2/models/secret/versions/1/infer", 503, "no engine"),
        ("admin", "/v2/models/iris/versions/3/infer", 503, "no engine"),
    ],
)
async def test_what_a_credential_may_call(
    client: httpx.AsyncClient, world: World, engine: FakeEngine, settings: GatewaySettings,
    who: str, path: str, status: int, says: str,
) -> None:  # fmt: skip
    answer = await client.post(path, content=b"{}", headers={"x-api-key": getattr(world, who)})
    assert answer.status_code == status, answer.text
    assert len(engine.frames) == (status == 200)
    if status != 200:
        assert says in answer.json()["error"]
    (record,) = records(settings)
    assert record.status == status
    assert record.model == path.split("/")[3].split(":", maxsplit=1)[0]


@pytest.mark.parametrize(
    ("who", "status"),
    [("narrow_key", 200), ("page_key", 403), ("far_key", 403), ("auditor", 403), ("admin", 200)],
)
async def test_statistics_need_scope_metadata(
    client: httpx.AsyncClient, world: World, who: str, status: int
) -> None:
    answer = await client.get(STATS, headers={"x-api-key": getattr(world, who)})
    assert answer.status_code == status, answer.text


async def test_a_key_in_the_wrong_network_learns_and_writes_nothing_of_hidden_models(
    client: httpx.AsyncClient, world: World, settings: GatewaySettings
) -> None:
    answers = {
        model: await client.post(
            f"/v2/models/{model}/infer", content=b"{}", headers={"x-api-key": world.far_key}
        )
        for model in ("secret", "nothing", "iris")
    }
    assert {answer.status_code for answer in answers.values()} == {403}
    assert len({answer.text for answer in answers.values()}) == 1
    assert [record.model for record in records(settings)] == ["", "", "iris"]


@pytest.fixture
async def behind_proxy(
    settings: GatewaySettings, world: World, engine: FakeEngine, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway for live keys alone, that trusts its own machine's proxies."""
    values: dict[str, Any] = settings.model_dump() | {
        "data_dir": tmp_path / "second",
        "trusted_proxies": "127.0.0.0/8, ::1",
        "key_environments": "live",
    }
    own = GatewaySettings(**values)
    gateway = Gateway(own, GatewaySecrets.read(own))
    async with gateway.running():
        gateway.catalog.apply([*world.changes(), worker((2, engine.path))], True)
        gateway.follower.synchronised.set()
        await until(lambda: gateway.upstream.is_ready(("iris", 2)) and gateway.routes.started)
        transport = httpx.ASGITransport(gateway.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield client


async def test_a_trusted_proxy_says_who_the_client_is(
    behind_proxy: httpx.AsyncClient, world: World
) -> None:
    for claimed, status in (
        ("203.0.113.9", 200),
        ("198.51.100.1, 203.0.113.9, 127.0.0.5", 200),
        ("203.0.113.9, 198.51.100.1", 403),
        ("unknown", 403),
    ):
        for answer in (
            await behind_proxy.post(
                INFER,
                content=b"{}",
                headers={"x-api-key": world.far_key, "x-forwarded-for": claimed},
            ),
            await behind_proxy.get(
                STATS, headers={"x-api-key": world.far_key, "x-forwarded-for": claimed}
            ),
        ):
            assert answer.status_code == status, (claimed, answer.text)


async def test_a_gateway_for_live_keys_refuses_test_keys(
    behind_proxy: httpx.AsyncClient, world: World
) -> None:
    for who, status in ((world.key, 200), (world.test_key, 403)):
        answer = await behind_proxy.post(INFER, content=b"{}", headers={"x-api-key": who})
        assert answer.status_code == status


@pytest.mark.parametrize(
    "wrong",
    [
        {"trusted_proxies": "proxy.example"},
        {"trusted_proxies": "10.0.0.1/8"},
        {"key_environments": ""},
        {"key_environments": "prod"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    settings: GatewaySettings, wrong: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GatewaySettings(**settings.model_dump() | wrong)


async def test_a_page_reads_answers_and_errors_of_its_own_application(
    client: httpx.AsyncClient, world: World, engine: FakeEngine
) -> None:
    page = {"x-api-key": world.page_key, "origin": ORIGIN}
    for answer, status in (
        (await client.post(INFER, content=b"{}", headers=page), 200),
        (await client.post(INFER, content=b"x" * 101, headers=page), 413),
        (await client.get("/v2/models/iris", headers=page), 200),
        (await client.get("/v2/models/nothing", headers=page), 404),
        (await client.get(STATS, headers=page), 403),
    ):
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["vary"] == "Origin"
        assert "Tollway-Prediction-Id" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
    assert len(engine.frames) == 1


async def test_a_page_of_another_origin_is_refused_before_an_engine_hears_of_it(
    client: httpx.AsyncClient, world: World, engine: FakeEngine
) -> None:
    for key, origin in (
        (world.page_key, "https://evil.example"),
        (world.page_key, "null"),
        (world.key, ORIGIN),
        (world.admin, ORIGIN),
    ):
        headers = {"x-api-key": key, "origin": origin}
        for answer in (
            await client.post(INFER, content=b"{}", headers=headers),
            await client.get("/v2/models/iris", headers=headers),
        ):
            assert answer.status_code == 403
            assert "access-control-allow-origin" not in answer.headers
            assert answer.headers["vary"] == "Origin"
    assert engine.frames == []


async def test_a_page_of_the_gateway_itself_is_of_no_other_origin(
    client: httpx.AsyncClient, world: World
) -> None:
    for host, origin, status in (
        ("api.example:8080", "http://api.example:8080", 200),
        ("api.example", "https://API.example", 200),
        ("api.example:8080", "http://api.example", 403),
        ("api.example", "http://api.example.evil.example", 403),
    ):
        headers = {"x-api-key": world.key, "host": host, "origin": origin}
        for answer in (
            await client.post(INFER, content=b"{}", headers=headers),
            await client.get("/v2/models/iris", headers=headers),
        ):
            assert answer.status_code == status, (host, origin, answer.text)


PUBLIC = ("/v2", "/v2/models/iris", "/v1/models/iris", "/v1/models/iris/metadata")


@pytest.mark.parametrize("credential", [{}, {"x-api-key": "no key"}, {"x-api-key": "tw_live_no"}])
async def test_until_it_is_known_who_calls_pages_of_any_application_read_the_answer(
    gateway: Gateway, credential: dict[str, str]
) -> None:
    transport = httpx.ASGITransport(gateway.application)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as bare:

        async def answers(origin: str) -> list[httpx.Response]:
            page = credential | {"origin": origin}
            return [
                await bare.post(INFER, content=b"{}", headers=page),
                await bare.post(INFER, content=b"{}", headers={"accept": "text/html"} | page),
                await bare.get(INFER, headers=page),
                await bare.get(STATS, headers=page),
                *[await bare.get(path, headers=page) for path in PUBLIC],
            ]

        found = await answers(ORIGIN)
        assert [answer.status_code for answer in found] == [401, 401, 405, 401, *[200] * 4]
        for answer in found:
            assert answer.headers.get_list("access-control-allow-origin") == [ORIGIN]
            assert answer.headers.get_list("vary") == ["Origin"]
        assert found[2].headers["allow"] == "POST"
        other = await answers("https://evil.example")
        assert [answer.status_code for answer in other] == [a.status_code for a in found]
        for answer in other:
            assert "access-control-allow-origin" not in answer.headers
            assert answer.headers.get_list("vary") == ["Origin"]


async def test_caches_know_that_metadata_depends_on_the_page(client: httpx.AsyncClient) -> None:
    for path in PUBLIC:
        assert (await client.get(path)).headers["vary"] == "Origin"


async def test_a_page_reads_that_its_key_may_not_be_used_from_here(
    gateway: Gateway, client: httpx.AsyncClient, world: World
) -> None:
    shop = ApplicationDoc(name="shop", consumer="c", origins=(ORIGIN,))
    gateway.catalog.apply([("application", "shop", shop)], False)
    page = {"x-api-key": world.far_key, "origin": ORIGIN}
    answer = await client.post(INFER, content=b"{}", headers=page)
    assert answer.status_code == 403
    assert answer.headers["access-control-allow-origin"] == ORIGIN


async def test_preflight_is_answered_when_any_application_allows_the_origin(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    asks = {"origin": ORIGIN, "access-control-request-method": "POST"}
    for path in (INFER, "/v1/models/iris:predict", "/v2/models/iris", "/v2/repository/index"):
        answer = await client.options(path, headers=asks)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-api-key" in answer.headers["access-control-allow-headers"]
        assert answer.headers["vary"] == "Origin"
        other = await client.options(path, headers=asks | {"origin": "https://evil.example"})
        assert other.status_code == 403
        assert "access-control-allow-origin" not in other.headers
    gateway.catalog.apply([("application", "pages", None)], False)
    assert (await client.options(INFER, headers=asks)).status_code == 403


async def test_no_application_allows_an_origin_by_default(
    client: httpx.AsyncClient, gateway: Gateway, world: World
) -> None:
    gateway.catalog.apply(
        [("application", "shop", ApplicationDoc(name="shop", consumer="c"))], False
    )
    headers = {"x-api-key": world.key, "origin": "http://localhost:3000"}
    assert (await client.post(INFER, content=b"{}", headers=headers)).status_code == 403


async def test_the_plans_row_limit_travels_to_the_engine(
    client: httpx.AsyncClient, world: World, engine: FakeEngine
) -> None:
    for key in (world.page_key, world.key, world.admin):
        await client.post(INFER, content=b"{}", headers={"x-api-key": key})
    assert [frame.c for frame in engine.frames] == [2, 0, 0]


async def test_rows_and_bytes_that_a_plan_does_not_allow_are_recorded_as_refused_by_size(
    client: httpx.AsyncClient, world: World, engine: FakeEngine, settings: GatewaySettings
) -> None:
    async def sent(body: bytes, status: int, limit: str) -> None:
        answer = await client.post(INFER, content=body, headers={"x-api-key": world.page_key})
        assert answer.status_code == status
        assert records(settings)[-1].limit == limit

    await sent(b"{}", 200, "")
    await sent(b"x" * 101, 413, "size")
    engine.behave = lambda engine, transport, frame: engine.reply(
        transport, frame, 413, b'{"error": "the plan allows 2 rows"}'
    )
    await sent(b"{}", 413, "size")
    engine.behave = lambda engine, transport, frame: engine.reply(
        transport, frame, 422, b'{"error": "outside of the contract"}'
    )
    await sent(b"{}", 422, "")


async def test_a_chunked_body_is_cut_at_the_plans_limit(
    client: httpx.AsyncClient, world: World, engine: FakeEngine
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 10

    answer = await client.post(INFER, content=chunks(), headers={"x-api-key": world.page_key})
    assert answer.status_code == 413
    assert "plan 'small'" in answer.json()["error"]
    assert engine.frames == []
