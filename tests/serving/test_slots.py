"""A slot: whatever its engine does, the version is tried again and can be taken down."""

import asyncio
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from protocol.configuration import AlertDoc
from serving.agent import Agent
from serving.fetch import BlobCache
from serving.findings import Findings
from serving.launch import EngineOrder
from serving.places import Place
from serving.process import EngineProcess
from serving.settings import WorkerSettings
from serving.slots import Slot
from tests.serving import models
from tests.serving.fake_control import FakeControl
from tests.serving.rig import version_of
from tests.serving.test_engine import settle_until

NONSENSE = "print('this is no word', flush=True)"
ENDLESS = "import sys; sys.stdout.write('x' * 200_000); sys.stdout.flush()"
SERVES = """print('{"ready": true}', flush=True); import time; time.sleep(60)"""
FINDS = """print('{"ready": true}', flush=True)
alert = '{"kind": "batch_variance", "message": "rows differ", "since": 7}'
print('{"alert": ' + alert + '}', flush=True)
import time; time.sleep(60)"""
FINDS_TWICE = """print('{"ready": true}', flush=True)
for since in "78":
    alert = '{"kind": "batch_variance", "message": "rows differ", "since": ' + since + '}'
    print('{"alert": ' + alert + '}', flush=True)
import time; time.sleep(60)"""
BABBLES = """print('{"ready": true}', flush=True); print('babble', flush=True)
import time; time.sleep(60)"""
SAYS_NO_AND_STAYS = """print('{"ready": false, "error": "no"}', flush=True)
import time; time.sleep(60)"""
IS_SILENT_AND_STAYS = "import os, time; os.close(1); time.sleep(60)"


class Engines:
    """Starts small programs in place of engines, one after the other; the last one for ever."""

    def __init__(self, *programs: str | Exception) -> None:
        self._programs = list(programs)
        self.started: list[asyncio.subprocess.Process] = []

    async def __call__(self, order: EngineOrder) -> EngineProcess:
        program = self._programs.pop(0) if len(self._programs) > 1 else self._programs[0]
        if isinstance(program, Exception):
            raise program
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
        )
        self.started.append(process)
        return EngineProcess(process)


@asynccontextmanager
async def slot_of(engines: Engines, folder: Path) -> AsyncIterator[tuple[Slot, list[str]]]:
    """A slot at work, and the states that it passes with their reasons."""
    control, graph = FakeControl(), models.identity()
    control.add_model(graph)
    manifest = models.manifest_of(graph)
    seen: list[str] = []
    order = EngineOrder(
        model="m",
        version=1,
        slot=0,
        digest="sha256:d",
        manifest=manifest,
        folder=str(folder / "engine"),
        artifact="model.onnx",
        address=f"unix:{folder}/e.sock",
        drain_s=0.0,
    )
    async with control.client() as client:
        slot = Slot(
            version_of(manifest),
            0,
            order,
            place=Place(order.address, order.address, lambda: None),
            blobs=BlobCache(folder, client),
            loading=asyncio.Semaphore(1),
            start=engines,
            changed=lambda: seen.append(f"{slot.doc.state} {slot.doc.error}"),
            findings=Findings(folder / "findings"),
            told=lambda _: None,
            load_timeout_s=20,
            jitter=lambda: 0.0,
        )
        try:
            yield slot, seen
        finally:
            await slot.stop()


async def until(seen: list[str], text: str) -> str:
    """The first state that has ``text`` in it."""
    async with asyncio.timeout(20):
        while True:
            for one in seen:
                if text in one:
                    return one
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (NONSENSE, "DecodeError"),
        (ENDLESS, "ValueError"),
        (RuntimeError("surprise"), "surprise"),
        (IS_SILENT_AND_STAYS, "died while loading"),
    ],
)
async def test_an_engine_that_fails_in_an_unforeseen_way_is_reported_and_started_again(
    tmp_path: Path, broken: str | Exception, reason: str
) -> None:
    engines = Engines(broken, SERVES)
    with capture_logs():
        async with slot_of(engines, tmp_path) as (slot, seen):
            told = await until(seen, reason)
            await until(seen, "ready")
        assert told.startswith("starting")
        assert slot.doc.state == "stopped"
    assert all(process.returncode is not None for process in engines.started)


async def test_an_engine_that_says_no_is_ended_even_if_it_stays(tmp_path: Path) -> None:
    engines = Engines(SAYS_NO_AND_STAYS)
    with capture_logs():
        async with slot_of(engines, tmp_path) as (_, seen):
            assert await until(seen, "failed") == "failed no"
            (process,) = engines.started
            assert process.returncode is not None


async def test_a_version_whose_slot_ended_with_a_defect_can_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, graph = FakeControl(), models.identity()
    control.add_model(graph)
    document = version_of(models.manifest_of(graph))
    control.put("m/1", document)
    settings = WorkerSettings(
        data_dir=tmp_path,
        control_url="http://control",
        cluster_token_file=tmp_path / "token",
        worker_id="w",
        run_dir=Path(tempfile.gettempdir()),  # nothing listens there
        engine_drain_s=0,
    )
    stop_slot = Slot.stop

    async def defective(self: Slot) -> None:
        await stop_slot(self)
        raise RuntimeError("a defect")

    stop = asyncio.Event()
    async with control.client() as client:
        agent = Agent(settings, client, "token", Engines(SERVES))
        task = asyncio.create_task(agent.run(stop))
        await control.until("m", "ready")
        with capture_logs() as logged, monkeypatch.context() as patch:
            patch.setattr(Slot, "stop", defective)
            control.put("m/1", None)
            await control.until("m", None)
            control.put("m/1", document)
            await control.until("m", "ready")
        stop.set()
        await asyncio.wait_for(task, 20)
    assert any(one["event"] == "an engine did not end well" for one in logged)


async def test_what_an_engine_finds_is_reported_logged_and_known_to_its_successors(
    tmp_path: Path,
) -> None:
    engines = Engines(FINDS)
    with capture_logs() as logs:
        async with slot_of(engines, tmp_path) as (slot, _):
            await settle_until(lambda: bool(slot.doc.alerts))
            await settle_until(
                lambda: Findings(tmp_path / "findings").of(slot.version.digest) is not None
            )
            (alert,) = slot.doc.alerts
            assert (alert.kind, alert.message, alert.since) == ("batch_variance", "rows differ", 7)
            assert slot.doc.state == "ready"
            assert Findings(tmp_path / "findings").of(slot.version.digest) == alert
            assert slot._order.finding == alert
    assert [line["reason"] for line in logs if line["event"] == "alert"] == ["rows differ"]


async def test_an_engine_is_heard_on_when_its_alert_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "findings").write_text("no folder")
    with capture_logs() as logs:
        async with slot_of(Engines(FINDS_TWICE), tmp_path) as (slot, _):
            await settle_until(lambda: any(alert.since == 8 for alert in slot.doc.alerts))
            assert slot.doc.state == "ready"
    assert [line["event"] for line in logs if line["log_level"] == "error"][:3] == [
        "alert",
        "an alert is not kept",
        "alert",
    ]


async def test_an_engine_that_babbles_serves_all_the_same(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with slot_of(Engines(BABBLES), tmp_path) as (slot, seen):
            await settle_until(
                lambda: any(line["event"] == "an engine is not understood" for line in logs)
            )
            assert slot.doc.state == "ready"
            assert not slot.doc.alerts
            assert seen == ["ready "]


def test_engines_of_a_version_that_find_something_at_once_keep_it(tmp_path: Path) -> None:
    alerts = [AlertDoc(kind="batch_variance", message=f"{n}", since=n) for n in range(8)]
    together = threading.Barrier(len(alerts))

    def keep(alert: AlertDoc) -> None:
        findings = Findings(tmp_path / "findings")
        together.wait()
        for _ in range(20):
            findings.keep("sha256:0", alert)

    with ThreadPoolExecutor(len(alerts)) as threads:
        for done in [threads.submit(keep, alert) for alert in alerts]:
            done.result()
    assert Findings(tmp_path / "findings").of("sha256:0") in alerts
    assert [path.name for path in (tmp_path / "findings").iterdir()] == ["sha256-0.json"]
