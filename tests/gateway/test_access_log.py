"""The access log: which predictions have a line, what is in it, and what must not be."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from gateway.access_log import AccessLog, Line
from gateway.app import Gateway, GatewaySecrets
from gateway.settings import GatewaySettings
from protocol.errors import Code
from protocol.usage import UsageRecord
from tests.fixtures.logs import json_logs
from tests.gateway.conftest import until
from tests.gateway.documents import World, worker
from tests.gateway.fake_engine import FakeEngine

INFER = "/v2/models/iris/infer"
NOT_READY = "/v2/models/iris/versions/1/infer"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Lines = Callable[[int], Any]


@pytest.fixture(params=["errors"])
def setting(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def client(
    settings: GatewaySettings, setting: str, world: World, engine: FakeEngine
) -> AsyncIterator[httpx.AsyncClient]:
    chosen = settings.model_copy(update={"access_log": setting})
    gateway = Gateway(chosen, GatewaySecrets.read(chosen))
    async with gateway.running():
        gateway.catalog.apply([*world.changes(), worker((2, engine.path))], True)
        await until(lambda: gateway.upstream.is_ready(("iris", 2)))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(gateway.application),
            base_url="http://gateway",
            headers={"x-api-key": world.key},
        ) as built:
            yield built


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    with json_logs():
        yield


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Lines:
    """Waits for so many lines of the access log; those that there are."""
    seen: list[dict[str, Any]] = []

    async def read(count: int) -> list[dict[str, Any]]:
        def enough() -> bool:
            seen.extend(map(json.loads, capfd.readouterr().err.splitlines()))
            return len(seen) >= count

        await until(enough)
        return seen

    return read


async def test_a_failure_has_a_line_and_a_success_has_none(
    client: httpx.AsyncClient, lines: Lines
) -> None:
    await client.post(INFER, content=b"{}")
    await client.post("/v2/models/nothing/infer", content=b"{}")
    answer = await client.post(NOT_READY, content=b"{}", headers={"x-request-id": "r-9"})
    (line,) = await lines(1)
    assert answer.headers["x-request-id"] == "r-9"
    assert line["request_id"] == "r-9"
    assert line["prediction_id"] == answer.headers["tollway-prediction-id"]
    assert (line["status"], line["code"], line["level"]) == (503, "not_ready", "error")
    assert (line["application"], line["key"], line["model"], line["version"]) == (
        "shop", "k1", "iris", 1,
    )  # fmt: skip
    assert line["event"] == "prediction"
    assert line["total_ms"] > 0


@pytest.mark.parametrize("setting", ["all"], indirect=True)
async def test_all_means_strangers_too_and_repeats_nothing_that_they_made_up(
    client: httpx.AsyncClient, world: World, lines: Lines
) -> None:
    await client.post(INFER, content=b'{"private": 1}')
    stranger = {"x-api-key": "tw_live_stranger"}
    await client.post(f"/v2/models/{world.key}/infer", content=b"{}", headers=stranger)
    await client.post(f"/v2/models/{world.key}/infer", content=b"{}")
    await client.post(INFER, content=b"{}", headers={"x-request-id": world.key})
    found = await lines(4)
    assert [line["status"] for line in found] == [200, 401, 404, 200]
    assert [line["model"] for line in found] == ["iris", "", "", "iris"]
    assert found[1]["code"] == "unauthenticated"
    shown = json.dumps(found)
    for secret in (world.key, "stranger", "private"):
        assert secret not in shown


def line(status: int = 503) -> Line:
    record = UsageRecord(0, "a", "k", "m", 1, "stable", status, 0, 0, 0, 0, 0, 0, "p")
    return Line(record, b"r", 0, "", Code.QUEUE_FULL)


def test_lines_that_find_no_place_are_dropped_and_counted() -> None:
    log = AccessLog("errors")  # nobody writes: its thread was not started
    for _ in range(300):
        log.put(line())
    assert log.dropped == 300 - 256
    (family,) = log.collect()
    assert family.samples[0].value == 44
    log.close()


def test_a_sampled_request_has_its_trace_in_its_line(capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog("all")
    log.put(line()._replace(trace_id=0xABC))
    log.start()
    log.close()
    (written,) = map(json.loads, capfd.readouterr().err.splitlines())
    assert written["trace_id"] == f"{0xABC:032x}"
