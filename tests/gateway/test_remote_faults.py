"""A remote server that breaks, hangs, is away or answers nonsense: whose fault it is, is told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from gateway.connection import Exchange
from gateway.settings import GatewaySettings
from protocol.errors import TollwayError
from protocol.failures import Failure
from protocol.frames import NO_HEADER, Frame
from protocol.trace_context import TraceContext
from runtime.trace import Trace
from tests.fixtures.remote_server import CLOSE, HANG, first_of_each_row, http, tensor
from tests.gateway.conftest import until
from tests.gateway.documents import World
from tests.gateway.remote_stage import (
    ANSWER,
    MODEL,
    ROW,
    Stage,
    remote_settings,
    remote_version,
    staged,
)


@pytest.fixture
def settings(settings: GatewaySettings) -> GatewaySettings:
    return remote_settings(settings)


@pytest.fixture
async def stage(settings: GatewaySettings, world: World) -> AsyncIterator[Stage]:
    async with staged(settings, world) as built:
        yield built


async def test_a_request_whose_connection_breaks_is_sent_once_more(stage: Stage) -> None:
    answers = [CLOSE, http(ANSWER)]
    stage.remote.infer = lambda _: answers.pop(0)

    assert (await stage.infer()).status_code == 200
    assert len(stage.remote.inferred()) == 2


async def test_an_answer_that_has_begun_is_not_asked_for_again(stage: Stage) -> None:
    stage.remote.infer = lambda _: (
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{"
    )

    assert (await stage.infer()).status_code == 502
    assert len(stage.remote.inferred()) == 1


async def test_a_server_that_hangs_is_given_up_at_the_deadline_and_stays_in_service(
    stage: Stage,
) -> None:
    stage.remote.infer = lambda _: HANG
    for _ in range(4):
        assert (await stage.infer(headers={"tollway-deadline-ms": "30"})).status_code == 504

    assert stage.state == "ready"  # clients' short deadlines prove nothing


async def test_what_takes_longer_than_the_version_allows_counts_as_a_fault(stage: Stage) -> None:
    stage.remote.infer = lambda _: HANG
    stage.configure(timeout_ms=30)
    await stage.ready()

    answers = [(await stage.infer()).status_code for _ in range(3)]
    assert answers == [504, 504, 504]
    assert stage.state == "failed"
    await stage.ready()  # it answers health checks


async def test_time_spent_waiting_for_the_requests_before_is_no_fault_of_the_server(
    stage: Stage,
) -> None:
    stage.configure(timeout_ms=40)
    await stage.ready()
    version = stage.gateway.remotes.get(("flowers", 1))
    assert version is not None
    for _ in range(2):
        await version._places.acquire()

    answers = [(await stage.infer()).status_code for _ in range(4)]

    assert answers == [504] * 4
    assert stage.state == "ready"
    assert version.faults == 0


async def test_a_full_queue_refuses_and_recovers(stage: Stage) -> None:
    stage.remote.infer = lambda _: HANG
    deadline = {"tollway-deadline-ms": "300"}
    asking = asyncio.gather(*(stage.infer(headers=deadline) for _ in range(5)))
    await until(lambda: len(stage.remote.inferred()) == 2)
    waiting = stage.gateway.remotes.in_flight()
    answers = await asking

    assert waiting == 3  # two with the server, as many as it gets at once, and one in the queue
    assert sorted(a.status_code for a in answers) == [503, 503, 504, 504, 504]
    stage.remote.infer = first_of_each_row
    assert (await stage.infer()).status_code == 200


async def test_while_the_server_is_away_requests_are_refused_at_once_and_readiness_tells(
    stage: Stage,
) -> None:
    stage.remote.health = http({"error": "loading"}, 503)
    await until(lambda: stage.state == "failed")

    answer = await stage.infer()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert stage.remote.inferred() == []
    assert (await stage.client.get(f"{MODEL}/ready")).status_code == 503
    # One remote server that is away does not take the gateway out of service.
    assert (await stage.client.get("/v2/health/ready")).status_code == 200
    assert (await stage.client.get(f"{MODEL}/stats")).json()["model_stats"][0]["engines"] == []

    stage.remote.health = http()
    await stage.ready()
    assert (await stage.infer()).status_code == 200
    assert (await stage.client.get(f"{MODEL}/ready")).status_code == 200


async def test_statistics_count_what_this_gateway_has_asked(stage: Stage) -> None:
    await stage.infer(3)
    stage.remote.infer = lambda _: http({"error": "no"}, 400)
    await stage.infer()

    found = (await stage.client.get(f"{MODEL}/stats")).json()["model_stats"][0]
    assert found["inference_count"] == 3
    assert found["inference_stats"]["success"]["count"] == 1
    assert found["inference_stats"]["fail"]["count"] == 1


async def test_a_version_that_is_unloaded_is_asked_nothing_more(stage: Stage) -> None:
    doc = msgspec.structs.replace(remote_version(stage.remote.port), loaded=False)
    stage.gateway.catalog.apply([("version", "flowers/1", doc)], False)

    assert (await stage.infer()).status_code == 503
    assert stage.state == ""


async def test_metrics_tell_of_each_remote_version(stage: Stage) -> None:
    stage.remote.infer = lambda _: CLOSE
    await stage.infer()
    families = {family.name: family for family in stage.gateway.remotes.collect()}

    assert families["tollway_remote_ready"].samples[0].labels == {
        "model": "flowers",
        "version": "1",
    }
    assert families["tollway_remote_faults"].samples[0].value == 1
    assert families["tollway_remote_retries"].samples[0].value == 1


async def test_a_defect_of_a_health_check_does_not_end_the_checks(stage: Stage) -> None:
    version = stage.gateway.remotes.get(("flowers", 1))
    assert version is not None
    defects = iter([ZeroDivisionError("a defect")])

    def read_secret() -> None:
        for defect in defects:
            raise defect

    version._read_secret = read_secret
    version._check_wanted.set()
    await until(lambda: stage.state == "failed")
    assert "127.0.0.1" not in version.error
    await stage.ready()


async def test_a_failure_of_the_remote_server_counts_as_one_of_the_backend(stage: Stage) -> None:
    stage.remote.infer = lambda _: http({}, 500)
    assert (await stage.infer()).status_code == 502

    series = stage.gateway.metrics._series["flowers", 1]
    assert series.failures[Failure.BACKEND] == 1


async def test_what_the_model_does_not_take_is_the_callers_fault_and_not_the_servers(
    stage: Stage,
) -> None:
    stage.remote.infer = lambda _: http({}, 500)
    given = tensor("input", "FP32", [1, 3], data=[1.0, 2.0, 3.0])
    answers = [
        await stage.client.post(f"{MODEL}/infer", json={"inputs": [given]}) for _ in range(4)
    ]

    assert {answer.status_code for answer in answers} == {400}
    assert answers[0].json() == {
        "error": "input 'input' has shape [1, 3], but the model takes [-1, 4]"
    }
    assert stage.remote.inferred() == []
    version = stage.gateway.remotes.get(("flowers", 1))
    assert version is not None
    assert (version.faults, version.state) == (0, "ready")
    assert stage.gateway.metrics._series["flowers", 1].failures[Failure.OTHER] == 4


@pytest.mark.parametrize(
    "output",
    [
        tensor("q", "INT64", [1], data=[0]),
        tensor("label", "INT32", [1], data=[0]),
        tensor("label", "INT64", [5, 2], data=[0, 1]),
        tensor("label", "INT64", [1]),
    ],
)
async def test_an_answer_that_is_not_of_the_models_outputs_is_not_passed_on(
    stage: Stage, output: dict[str, Any]
) -> None:
    stage.remote.infer = lambda _: http({"outputs": [output]})
    answer = await stage.infer()

    assert answer.status_code == 502
    assert answer.json() == {
        "error": "the server of 'flowers' version 1 failed, or its answer is no use"
    }


async def test_times_are_measured_by_a_clock_that_runs_within_a_tick_of_the_loop(
    stage: Stage,
) -> None:
    version = stage.gateway.remotes.get(("flowers", 1))
    assert version is not None
    # arrival, a place, sending, the answer, the end
    version._monotonic = iter([100.0, 100.0001, 100.0002, 100.0053, 100.006]).__next__
    loop = asyncio.get_running_loop()
    reply: asyncio.Future[Frame | TollwayError] = loop.create_future()
    body = msgspec.json.encode({"inputs": [tensor("input", "FP32", [1, 4], data=[ROW])]})
    context = TraceContext(trace_id=1, span_id=2, sampled=True)
    trace = Trace(context, context, None, [])
    exchange = Exchange(
        body, loop.time() + 2, reply.set_result, header_length=NO_HEADER, trace=trace
    )
    version.send(exchange)
    frame = await reply

    assert isinstance(frame, Frame)
    assert frame.a == pytest.approx(100, abs=1)
    assert frame.b == pytest.approx(5200, abs=1)
    assert trace.sent == 100.0002
    assert version.stats().success_ns == pytest.approx(6_000_000, rel=1e-3)
