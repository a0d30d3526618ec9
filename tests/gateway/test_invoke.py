"""What a prediction request meets on its way, through the whole gateway with a fake engine."""

import asyncio
from pathlib import Path

import httpx
import msgspec
import pytest

from gateway.app import Gateway
from gateway.paths import Paths
from gateway.settings import GatewaySettings
from protocol.configuration import PlanDoc
from protocol.frames import WARNED, Frame, Operation
from protocol.keys import generate
from protocol.usage import UsageRecord
from tests.gateway.conftest import until
from tests.gateway.documents import World, digest, worker
from tests.gateway.fake_engine import FakeEngine

INFER = "/v2/models/iris/infer"
JSON = {"content-type": "application/json"}


async def test_body_reaches_the_engine_unchanged_and_the_reply_comes_back(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    answer = await client.post(INFER, content=b'{"any": "bytes"}', headers=JSON)
    assert answer.status_code == 200
    assert answer.content == b'{"any": "bytes"}'
    assert engine.frames[0].body == b'{"any": "bytes"}'
    assert engine.frames[0].flags == Operation.V2_INFER
    assert 0 < engine.frames[0].a <= 2_000


async def test_answer_carries_the_contracts_headers(client: httpx.AsyncClient) -> None:
    answer = await client.post(INFER, content=b"{}", headers={**JSON, "x-request-id": "abc-1"})
    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.headers["tollway-version"] == "2"
    assert answer.headers["tollway-variant"] == "stable"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["server-timing"].startswith("queue;dur=0.011, infer;dur=0.022, gateway")
    assert answer.headers["tollway-prediction-id"]


async def test_an_answer_to_a_request_outside_of_a_data_contract_says_so_and_counts_as_any(
    client: httpx.AsyncClient, engine: FakeEngine, gateway: Gateway
) -> None:
    def warn(engine: FakeEngine, transport: asyncio.Transport, frame: Frame) -> None:
        engine.reply(transport, frame, 200, frame.body, flags=WARNED)

    engine.behave = warn
    answer = await client.post("/v2/models/iris/infer", content=b"{}")

    assert answer.status_code == 200
    assert answer.headers["Tollway-Contract"] == "violated"
    assert "infer;dur=0.022" in answer.headers["Server-Timing"]


async def test_a_request_id_that_is_not_sane_is_replaced(client: httpx.AsyncClient) -> None:
    answer = await client.post(INFER, content=b"{}", headers={"x-request-id": "a b\x7f" * 50})
    assert answer.headers["x-request-id"] == answer.headers["tollway-prediction-id"]


async def test_prediction_ids_are_unique(client: httpx.AsyncClient) -> None:
    answers = [await client.post(INFER, content=b"{}") for _ in range(20)]
    assert len({answer.headers["tollway-prediction-id"] for answer in answers}) == 20


@pytest.mark.parametrize(
    ("path", "headers", "version", "variant"),
    [
        ("/v2/models/iris/infer", {}, "2", "stable"),
        ("/v2/models/iris/versions/2/infer", {"tollway-version": "1"}, "2", "pinned"),
        ("/v2/models/iris/infer", {"tollway-version": "2"}, "2", "pinned"),
        ("/v1/models/iris:predict", {}, "2", "stable"),
        ("/v1/models/iris/versions/2:predict", {}, "2", "pinned"),
        ("/v1/models/iris/labels/stable:predict", {"tollway-version": "1"}, "2", "pinned"),
        ("/v1/models/iris/labels/stable:explain", {}, "2", "pinned"),
    ],
)
async def test_version_is_chosen_in_the_contracts_order(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], version: str, variant: str
) -> None:
    answer = await client.post(path, content=b"{}", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["tollway-version"] == version
    assert answer.headers["tollway-variant"] == variant


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v2/models/nothing/infer", {}, 404),
        ("/v2/models/iris/versions/9/infer", {}, 404),
        ("/v2/models/iris/versions/abc/infer", {}, 404),
        ("/v2/models/iris/versions/-1/infer", {}, 404),
        ("/v2/models/iris/versions/99999999999999999999/infer", {}, 404),
        ("/v2/models/iris/versions/²/infer", {}, 404),
        ("/v2/models/iris/infer", {"tollway-version": "x"}, 404),
        ("/v1/models/iris/labels/none:predict", {}, 404),
        ("/v2/models/iris/versions/3/infer", {}, 404),
        ("/v2/models/secret/infer", {}, 404),
        ("/v2/models/iris/versions/4/infer", {}, 410),
        ("/v1/models/iris/labels/gone:predict", {}, 410),
        ("/v2/models/iris/versions/1/infer", {}, 503),
        (INFER, {"content-type": "text/plain"}, 415),
        (INFER, {"content-encoding": "br"}, 415),
        (INFER, {"accept": "text/html"}, 406),
        (INFER, {"tollway-deadline-ms": "soon"}, 400),
        (INFER, {"tollway-deadline-ms": "0"}, 400),
        (INFER, {"inference-header-content-length": "-3"}, 400),
        ("/v2/models/iris/versions/1/infer/more", {}, 404),
        ("/v1/models/iris:train", {}, 405),
    ],
)
async def test_refusals_have_their_documented_status_and_form(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], status: int
) -> None:
    answer = await client.post(path, content=b"{}", headers=headers)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_get_on_a_prediction_path_is_405(client: httpx.AsyncClient) -> None:
    answer = await client.get(INFER)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


async def test_management_token_reaches_versions_before_they_are_published(
    client: httpx.AsyncClient, world: World
) -> None:
    path = "/v2/models/iris/versions/3/infer"
    answer = await client.post(path, content=b"{}", headers={"x-api-key": world.admin})
    assert answer.status_code == 503  # it exists for the admin; no engine holds it here


async def test_credentials_are_taken_from_either_header(gateway: Gateway, world: World) -> None:
    transport = httpx.ASGITransport(gateway.application)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as bare:
        for headers in ({"X-API-Key": world.key}, {"Authorization": f"Bearer {world.key}"}):
            assert (await bare.post(INFER, content=b"{}", headers=headers)).status_code == 200
        for headers in (
            {},
            {"X-API-Key": "nonsense"},
            {"X-API-Key": generate("live")},
            {"X-API-Key": world.key[:-1] + ("a" if world.key[-1] != "a" else "b")},
            {"Authorization": f"Basic {world.key}"},
        ):
            answer = await bare.post(INFER, content=b"{}", headers=headers)
            assert answer.status_code == 401
            assert world.key not in answer.text
            assert "www-authenticate" in answer.headers


async def test_application_without_subscription_is_refused(
    client: httpx.AsyncClient, world: World
) -> None:
    answer = await client.post(INFER, content=b"{}", headers={"x-api-key": world.stranger_key})
    assert answer.status_code == 403


async def test_revoked_key_stops_at_once(client: httpx.AsyncClient, gateway: Gateway) -> None:
    assert (await client.post(INFER, content=b"{}")).status_code == 200
    gateway.catalog.apply([("key", "k1", None)], False)
    assert (await client.post(INFER, content=b"{}")).status_code == 401


async def test_declared_and_undeclared_bodies_that_are_too_large_get_413(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    assert (await client.post(INFER, content=b"x" * 100_001)).status_code == 413

    async def chunks():  # noqa: ANN202 -- an async generator of bytes
        for _ in range(11):
            yield b"x" * 10_000

    assert (await client.post(INFER, content=chunks())).status_code == 413
    assert engine.frames == []


async def test_late_answer_is_504_and_the_engine_is_told(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.behave = lambda *_: None
    answer = await client.post(INFER, content=b"{}", headers={"tollway-deadline-ms": "30"})
    assert answer.status_code == 504
    await until(lambda: engine.cancelled == [engine.frames[0].id])


async def test_request_lost_with_its_engine_is_answered_by_another(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    second = FakeEngine(engine.path.with_name("e2.sock"), "iris", 2, digest("iris", 2))
    await second.start()
    try:
        gateway.catalog.apply([worker((2, engine.path), (2, second.path))], False)
        await until(lambda: len(gateway.upstream.connections(("iris", 2))) == 2)
        dying = engine, second

        def die(one: FakeEngine, transport: asyncio.Transport, _frame: Frame) -> None:
            other = dying[1] if one is dying[0] else dying[0]
            other.behave = lambda e, t, f: e.reply(t, f, 200, b"rescued")
            transport.abort()

        engine.behave = second.behave = die
        answer = await client.post(INFER, content=b"{}")
        assert (answer.status_code, answer.content) == (200, b"rescued")
        assert gateway.upstream.retries == 1
    finally:
        await second.kill()


async def test_request_lost_with_the_only_engine_is_503_not_left_hanging(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.behave = lambda _e, transport, _f: transport.abort()
    answer = await client.post(INFER, content=b"{}")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


async def test_a_defect_on_the_way_to_the_engine_is_answered_and_gives_the_place_back(
    client: httpx.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a defect")

    one_at_once = PlanDoc(name="unlimited", concurrency=1)
    gateway.catalog.apply([("plan", "unlimited", one_at_once)], False)
    monkeypatch.setattr(gateway.upstream, "send", broken)
    answer = await client.post(INFER, content=b"{}")
    assert (answer.status_code, "a defect" in answer.text) == (500, False)
    monkeypatch.undo()
    assert (await client.post(INFER, content=b"{}")).status_code == 200


async def test_restarted_engine_is_found_again_at_its_address(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    await engine.kill()
    await until(lambda: not gateway.upstream.is_ready(("iris", 2)))
    assert (await client.post(INFER, content=b"{}")).status_code == 503
    await engine.start()
    await until(lambda: gateway.upstream.is_ready(("iris", 2)))
    assert (await client.post(INFER, content=b"{}")).status_code == 200


async def test_an_engine_that_leaves_before_it_has_spoken_gets_no_connection(
    gateway: Gateway, run_dir: Path
) -> None:
    ended: list[bytes] = []
    opened = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.set()
        ended.append(await reader.read())
        writer.close()

    server = await asyncio.start_unix_server(silent, run_dir / "silent.sock")
    gateway.catalog.apply([worker((2, run_dir / "silent.sock"))], False)
    async with asyncio.timeout(5):
        await opened.wait()
    gateway.catalog.apply([("worker", "w1", None)], False)
    await until(lambda: ended == [b""])
    server.close()


def test_long_paths_are_parsed_and_not_remembered() -> None:
    router = Paths()
    long = f"/v2/models/{'a' * 300}/infer"
    target = router.target(long)
    assert target is not None
    assert target.model == "a" * 300
    router.target("/v2/models/iris/infer")
    assert list(router._cache) == ["/v2/models/iris/infer"]


async def test_draining_engine_answers_what_it_has_and_gets_nothing_new(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    held: list[tuple[asyncio.Transport, Frame]] = []
    engine.behave = lambda _e, transport, frame: held.append((transport, frame))
    first = asyncio.create_task(client.post(INFER, content=b"{}"))
    await until(lambda: len(held) == 1)
    engine.drain()
    await until(lambda: not gateway.upstream.is_ready(("iris", 2)))
    assert (await client.post(INFER, content=b"{}")).status_code == 503
    engine.reply(*held[0], 200, b"late")
    assert (await first).content == b"late"


async def test_engine_that_announces_another_digest_gets_no_traffic(
    client: httpx.AsyncClient, gateway: Gateway, engine: FakeEngine
) -> None:
    impostor = FakeEngine(engine.path.with_name("e3.sock"), "iris", 1, "sha256:other")
    await impostor.start()
    try:
        gateway.catalog.apply([worker((2, engine.path), (1, impostor.path))], False)
        await until(lambda: bool(impostor.transports))
        answer = await client.post("/v2/models/iris/versions/1/infer", content=b"{}")
        assert answer.status_code == 503
        assert impostor.frames == []
    finally:
        await impostor.kill()


async def test_engine_errors_reach_the_client_as_they_are(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    body = b"{\"error\":\"input 'a' data[0]: 'x' is not FP32\"}"
    engine.behave = lambda e, t, f: e.reply(t, f, 400, body)
    answer = await client.post(INFER, content=b"{}")
    assert (answer.status_code, answer.content) == (400, body)


async def test_binary_reply_carries_its_header_length(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.behave = lambda e, t, f: e.reply(t, f, 200, b"{}\x01\x02", json_bytes=2)
    answer = await client.post(
        INFER, content=b"{}\x00", headers={"inference-header-content-length": "2"}
    )
    assert engine.frames[0].b == 2
    assert answer.headers["inference-header-content-length"] == "2"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.content == b"{}\x01\x02"


async def test_usage_is_written_before_the_answer_leaves(
    client: httpx.AsyncClient, gateway: Gateway, settings: GatewaySettings
) -> None:
    answer = await client.post(INFER, content=b"{}")
    (segment,) = (settings.data_dir / "gateway" / "usage").glob("*.usage")
    line = segment.read_text().splitlines()[-1]
    assert answer.headers["tollway-prediction-id"] in line
    assert gateway.usage.failures == 0


async def test_record_names_the_plan_of_an_application_and_none_of_a_management_token(
    client: httpx.AsyncClient, settings: GatewaySettings, world: World
) -> None:
    await client.post(INFER, content=b"{}")
    await client.post(INFER, content=b"{}", headers={"x-api-key": world.admin})
    (segment,) = (settings.data_dir / "gateway" / "usage").glob("*.usage")
    records = msgspec.json.Decoder(UsageRecord).decode_lines(segment.read_bytes())
    assert [(record.application, record.plan) for record in records] == [
        ("shop", "unlimited"),
        ("", ""),
    ]


async def test_answer_that_cannot_be_recorded_is_not_given(
    client: httpx.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gateway.usage, "_write", full)
    answer = await client.post(INFER, content=b"{}")
    assert answer.status_code == 503
    assert gateway.usage.failures == 1
