"""The agent: real engine processes, kept as the configuration says."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from structlog.testing import capture_logs

from protocol.configuration import EngineDoc
from protocol.frames import Kind
from runtime.machine import PROCESSORS
from runtime.priority import step_aside
from runtime.process import Lifeline
from serving.agent import Agent
from serving.endpoint import serve_endpoint
from serving.fetch import BlobCache
from serving.launch import EngineOrder
from serving.process import EngineProcess, starter
from tests.serving import models
from tests.serving.fake_control import FakeControl
from tests.serving.peer import Peer
from tests.serving.rig import one_input, version_of
from tests.serving.worker import Place, short_place

BODY = json.dumps(one_input([1, 2, 3], [1, 3])).encode()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with short_place(tmp_path) as found:
        yield found


async def answers(engine: EngineDoc | None) -> int:
    """Status of a prediction by an engine."""
    assert engine is not None
    peer, _ = await Peer.connect(engine.address, b"token")
    peer.infer(1, BODY)
    status = (await peer.reply(1)).status
    peer.writer.close()
    return status


def pids() -> set[int]:
    """This process's children that run."""
    running = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended between the two looks
            if child.status() != "zombie":
                running.add(child.pid)
    return running


async def test_a_version_is_served_from_registration_to_unloading(place: Place) -> None:
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    document = version_of(models.manifest_of(graph))
    before = pids()
    async with place.working(control) as agent:
        control.put("m/1", document)
        assert await answers(await control.until("m", "ready")) == 200
        assert agent.ready()
        engines = place.settings.data_dir / "worker-w" / "engines"
        assert not list(engines.iterdir()), "the staged copies are gone once loaded"
        control.put("m/1", version_of(document.manifest, loaded=False))
        await control.until("m", None)
        async with asyncio.timeout(10):
            while pids() - before:  # noqa: ASYNC110 -- another process's end
                await asyncio.sleep(0.01)
    assert control.removed


async def test_an_engine_loads_at_a_low_priority_only_beside_those_that_serve(
    place: Place,
) -> None:
    control, urgent = FakeControl(), {}
    graph = models.identity()
    control.add_model(graph)
    manifest = models.manifest_of(graph)

    async def start(order: EngineOrder) -> EngineProcess:
        urgent.setdefault(order.version, order.urgent)
        return await starting(order)

    async with place.working(control) as agent:
        starting, agent._start = agent._start, start
        for number in (1, 2):
            control.put(f"m/{number}", version_of(manifest, number=number))
            await control.until("m", "ready", number)
    assert urgent == {1: True, 2: False}


async def test_engines_serve_on_all_processors_though_they_are_born_aside(place: Place) -> None:
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    manifest = models.manifest_of(graph)
    before, ours = os.sched_getaffinity(0), pids()
    step_aside()  # as the worker does
    try:
        async with place.working(control):
            for number in (1, 2):  # the second is not urgent: it comes beside one that serves
                control.put(f"m/{number}", version_of(manifest, number=number))
                await control.until("m", "ready", number)
            engines = pids() - ours
            assert len(engines) == 2
            for pid in engines:
                for task in Path(f"/proc/{pid}/task").iterdir():
                    assert os.sched_getaffinity(int(task.name)) == PROCESSORS
    finally:
        os.sched_setaffinity(0, before)


async def test_an_unloaded_version_answers_for_a_while_longer(place: Place) -> None:
    """A gateway that has not heard yet of where its calls go instead sends some here."""
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    document = version_of(models.manifest_of(graph))
    before = pids()
    async with place.working(control, engine_linger_s=60):
        control.put("m/1", document)
        engine = await control.until("m", "ready")
        control.put("m/1", version_of(document.manifest, loaded=False))
        await control.until("m", None)
        assert await answers(engine) == 200
    assert not pids() - before, "a worker that ends waits for nothing"


async def test_reports_that_control_does_not_take_are_told_once_it_lasts(place: Place) -> None:
    control = FakeControl()
    control.refuses_reports = True
    now = 100.0

    async def tried(times: int) -> None:
        async with asyncio.timeout(10):
            while control.refused < times:  # noqa: ASYNC110 -- another task's doing
                await asyncio.sleep(0.01)

    with capture_logs() as logs:
        async with place.working(control, clock=lambda: now):
            await tried(2)
            told = [line for line in logs if line["event"] == "control takes no report"]
            assert not told, "at a start of everything control may be the last to be there"
            now += 3600
            await tried(control.refused + 3)
    assert [line["event"] for line in logs].count("control takes no report") == 1


async def test_loading_and_unloading_do_not_disturb_other_engines(place: Place) -> None:
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    async with place.working(control):
        control.put("a/1", version_of(models.manifest_of(graph, name="a")))
        engine = await control.until("a", "ready")
        assert engine is not None
        peer, _ = await Peer.connect(engine.address)
        control.put("b/1", version_of(models.manifest_of(graph, name="b")))
        await control.until("b", "ready")
        control.put("b/1", None)
        await control.until("b", None)
        peer.infer(1, BODY)
        assert (await peer.reply(1)).status == 200
        peer.writer.close()


async def test_an_engine_that_is_killed_comes_back_at_the_same_address(place: Place) -> None:
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    control.put("m/1", version_of(models.manifest_of(graph)))
    before = pids()
    async with place.working(control):
        first = await control.until("m", "ready")
        (pid,) = pids() - before
        os.kill(pid, signal.SIGKILL)
        starting = await control.until("m", "starting")
        assert starting is not None
        assert starting.error == "the engine ended with code -9"
        second = await control.until("m", "ready")
        assert first == second
        assert await answers(second) == 200


async def test_a_failed_golden_check_keeps_the_version_out_until_its_document_changes(
    place: Place,
) -> None:
    control = FakeControl()
    graph = models.linear(2)
    golden = models.golden_bytes(
        one_input([1, 2], [1, 2], name="input"),
        {"outputs": [{"name": "prediction", "shape": [1, 1], "data": [9]}]},
    )
    control.add_model(graph)
    control.add_blob(golden)
    async with place.working(control):
        control.put("m/1", version_of(models.manifest_of(graph, golden=golden)))
        failed = await control.until("m", "failed")
        assert failed is not None
        assert failed.error == "golden rows: output 'prediction'[0, 0] is 2.5, expected 9.0"
        control.put("m/1", version_of(models.manifest_of(graph)))
        await control.until("m", "ready")


async def test_a_manifest_that_is_not_the_one_of_its_digest_is_not_loaded(place: Place) -> None:
    control = FakeControl()
    graph = models.linear(2)
    control.add_model(graph)
    genuine = version_of(models.manifest_of(graph))
    manifest = msgspec.structs.replace(genuine.manifest, labels=("no", "yes"))
    async with place.working(control):
        control.put("m/1", msgspec.structs.replace(genuine, manifest=manifest))
        failed = await control.until("m", "failed")
        assert failed is not None
        assert failed.error == "the version's manifest is not the one that its digest is of"


async def test_a_worker_starts_from_its_disk_while_control_is_away(place: Place) -> None:
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    control.put("m/1", version_of(models.manifest_of(graph)))
    async with place.working(control):
        engine = await control.until("m", "ready")
    control.away = True
    async with place.working(control) as agent:
        async with asyncio.timeout(20):
            while not agent.slots or not agent.ready():  # noqa: ASYNC110 -- another process's state
                await asyncio.sleep(0.01)
        assert await answers(engine) == 200


async def test_a_blob_that_control_cannot_send_yet_is_asked_for_again(place: Place) -> None:
    control = FakeControl()
    graph = models.identity()
    async with place.working(control):
        control.put("m/1", version_of(models.manifest_of(graph)))
        starting = await control.until("m", "starting")
        assert starting is not None
        control.add_model(graph)
        await control.until("m", "ready")


async def test_engines_may_listen_on_tcp(place: Place) -> None:
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    control.put("m/1", version_of(models.manifest_of(graph)))
    async with place.working(control, engine_host="127.0.0.1", engine_first_port=29_137):
        engine = await control.until("m", "ready")
        assert engine is not None
        assert engine.address == "tcp:127.0.0.1:29137"
        assert await answers(engine) == 200


async def test_the_worker_has_health_and_metrics_of_its_own(place: Place) -> None:
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)

    async def get(port: int, path: str, method: str = "GET") -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        return answer

    async with place.working(control) as agent, serve_endpoint("127.0.0.1:0", agent, "t") as port:
        control.put("m/1", version_of(models.manifest_of(graph)))
        assert await answers(await control.until("m", "ready")) == 200
        assert (await get(port, "/healthz")).startswith("HTTP/1.1 200")
        assert (await get(port, "/readyz")).startswith("HTTP/1.1 200")
        assert (await get(port, "/x")).startswith("HTTP/1.1 404")
        head = await get(port, "/healthz", "HEAD")
        assert head.startswith("HTTP/1.1 200")
        assert "Content-Length: 3\r\n" in head
        assert head.endswith("\r\n\r\n"), "an answer to HEAD has no body"
        metrics = await get(port, "/metrics")
    assert 'tollway_engine_state{model="m",version="1",slot="0",state="ready"} 1' in metrics
    assert 'tollway_engine_requests_total{model="m",version="1",slot="0"} 1' in metrics


async def test_blobs_that_cannot_be_dropped_do_not_end_the_engines(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("read-only file system")

    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    control.put("m/1", version_of(models.manifest_of(graph)))
    monkeypatch.setattr(BlobCache, "keep_only", refuse)
    with capture_logs() as logged:
        async with place.working(control):
            assert await answers(await control.until("m", "ready")) == 200
    assert any(one["event"] == "cannot drop blobs" for one in logged)


async def test_an_engine_ends_when_its_agent_dies(place: Place) -> None:
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    control.put("m/1", version_of(models.manifest_of(graph)))
    before = pids()
    lifeline = Lifeline()
    async with control.client() as client:
        agent = Agent(place.settings, client, "token", starter(lifeline))
        task = asyncio.create_task(agent.run(asyncio.Event()))
        engine = await control.until("m", "ready")
        assert engine is not None
        (pid,) = pids() - before
        peer, _ = await Peer.connect(engine.address)
        lifeline.close()  # what the kernel does when the agent dies
        frame = await peer.read()
        assert frame is not None
        assert frame.kind == Kind.DRAIN
        peer.writer.close()
        process = psutil.Process(pid)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not process.is_running()
