"""The gateway's metrics: valid text, bounded labels, failures by Triton's reasons."""

import asyncio
from urllib.parse import quote

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.app import Gateway
from protocol.errors import STATUS, Code
from protocol.failures import Failure, failure_of
from protocol.frames import FAILED, NO_HEADER, Frame, Kind, encode_header
from tests.gateway.conftest import until
from tests.gateway.documents import World
from tests.gateway.fake_engine import FakeEngine

INFER = "/v2/models/iris/infer"
HOSTILE = ('x"y', "a\nb", "a}b", "ünï", "\\", "x" * 300, "{}", "tw_live_x")


async def samples(client: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of a scrape, which must be valid."""
    token = {"authorization": "Bearer cluster-token-of-the-tests"}
    answer = await client.get("/metrics", headers=token)
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def of(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def iris(name: str, **more: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return of(name, model="iris", version="2", **more)


async def test_what_clients_make_up_is_no_label(client: httpx.AsyncClient) -> None:
    for name in HOSTILE:
        answer = await client.post(f"/v2/models/{quote(name, safe='')}/infer", content=b"{}")
        assert answer.status_code == 404
    await client.post("/v2/models/iris/versions/77/infer", content=b"{}")
    found = await samples(client)
    models = {dict(labels)["model"] for _, labels in found if "model" in dict(labels)}
    versions = {dict(labels)["version"] for _, labels in found if "version" in dict(labels)}
    assert models == {"", "iris", "secret"}
    assert versions == {"0", "1", "2", "3"}
    assert found[of("tollway_requests_total", model="", version="0", status="404")] == len(HOSTILE)


async def test_predictions_rows_and_engines_are_counted_by_version(
    client: httpx.AsyncClient,
) -> None:
    for _ in range(3):
        await client.post(INFER, content=b"{}")
    found = await samples(client)
    assert found[iris("tollway_requests_total", status="200")] == 3
    assert found[iris("tollway_rows_total")] == 3
    assert found[iris("tollway_request_seconds_count")] == 3
    assert found[iris("tollway_infer_seconds_total")] == pytest.approx(66e-6)
    assert found[iris("tollway_engines_ready")] == 1
    assert found[of("tollway_engines_ready", model="iris", version="1")] == 0
    assert found[iris("tollway_pending_requests")] == 0
    assert all(found[iris("tollway_request_failures_total", reason=r.name)] == 0 for r in Failure)


async def test_requests_that_wait_for_an_engine_are_pending(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.behave = lambda _engine, _transport, _frame: None
    asked = asyncio.create_task(client.post(INFER, content=b"{}"))
    await until(lambda: bool(engine.frames))
    assert (await samples(client))[iris("tollway_pending_requests")] == 1
    engine.reply(engine.transports[0], engine.frames[0], 200, b"{}")
    await asked
    assert (await samples(client))[iris("tollway_pending_requests")] == 0


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (Code.QUEUE_FULL, "REJECTED"),
        (Code.DEADLINE_EXCEEDED, "REJECTED"),
        (Code.INFERENCE_FAILED, "BACKEND"),
        (Code.INTERNAL, "BACKEND"),
        (Code.INVALID_TENSOR, "OTHER"),
    ],
)
async def test_an_engines_failure_has_its_reason_and_no_run(
    client: httpx.AsyncClient, engine: FakeEngine, code: Code, reason: str
) -> None:
    def fail(_engine: FakeEngine, transport: asyncio.Transport, frame: Frame) -> None:
        header = encode_header(
            Kind.REPLY, 2, flags=FAILED, status=STATUS[code], id=frame.id, a=5_000,
            b=failure_of(code), d=NO_HEADER,
        )  # fmt: skip
        transport.write(header + b"{}")

    engine.behave = fail
    answer = await client.post(INFER, content=b"{}")
    assert answer.headers["server-timing"].startswith("queue;dur=5.000, infer;dur=0.000, gateway;")
    found = await samples(client)
    assert found[iris("tollway_request_failures_total", reason=reason)] == 1
    assert found[iris("tollway_infer_seconds_total")] == 0


async def test_a_refusal_of_the_gateway_has_its_reason_too(client: httpx.AsyncClient) -> None:
    await client.post("/v2/models/iris/versions/1/infer", content=b"{}")
    await client.post("/v2/models/iris/versions/4/infer", content=b"{}")
    found = await samples(client)
    one, four = ("iris", "1", "REJECTED"), ("iris", "4", "OTHER")
    for model, version, reason in (one, four):
        labels = {"model": model, "version": version, "reason": reason}
        assert found[of("tollway_request_failures_total", **labels)] == 1


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (INFER, {}, 200),
        (INFER, {"x-api-key": "tw_live_no"}, 401),
        (INFER, {"accept": "text/html"}, 406),
        ("/v2/models/nothing/infer", {}, 404),
        ("/v2/models/iris/versions/1/infer", {}, 503),
    ],
)
async def test_every_answer_says_where_the_time_went(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], status: int
) -> None:
    answer = await client.post(path, content=b"{}", headers=headers)
    assert answer.status_code == status
    names = [part.split(";")[0].strip() for part in answer.headers["server-timing"].split(",")]
    assert names == ["queue", "infer", "gateway"]


async def test_statistics_without_a_version_are_of_every_version_that_answers(
    client: httpx.AsyncClient, gateway: Gateway, world: World
) -> None:
    stats = (await client.get("/v2/models/stats")).json()["model_stats"]
    assert [(item["name"], item["version"]) for item in stats] == [("iris", "2")]
    stranger = {"x-api-key": world.stranger_key}
    answer = await client.get("/v2/models/stats", headers=stranger)
    assert answer.json() == {"model_stats": []}
    unknown = await client.get("/v2/models/stats", headers={"x-api-key": "tw_live_no"})
    assert unknown.status_code == 401


async def test_explanations_are_counted_apart_from_predictions(
    client: httpx.AsyncClient,
) -> None:
    before = await samples(client)
    answer = await client.post("/v1/models/iris:explain", content=b"{}")
    assert answer.status_code == 200
    after = await samples(client)

    def grew(sample: tuple[str, frozenset[tuple[str, str]]]) -> float:
        return after.get(sample, 0.0) - before.get(sample, 0.0)

    assert grew(iris("tollway_explain_requests_total", status="200")) == 1
    assert grew(iris("tollway_explain_seconds_total")) > 0
    assert grew(iris("tollway_requests_total", status="200")) == 0
    assert grew(iris("tollway_request_seconds_count")) == 0
