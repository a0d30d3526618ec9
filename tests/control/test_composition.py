"""The registry inside control: publishing over the API, workers' reports, what followers see."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from control.jobs import InterruptibleStore, Job, Jobs, Stopped
from control.metrics import Metrics
from protocol.configuration import Change
from protocol.manifest import Manifest, sha256_digest
from registry.blobstore import BlobStore, open_blob_store
from serving.fetch import ARTIFACT, BlobCache
from tests.control.running import Control
from tests.registry import models_onnx

MODEL = models_onnx.linear().SerializeToString()


async def register(client: httpx.AsyncClient) -> int:
    await client.put("/api/v1/models/risk")
    blob = {"digest": sha256_digest(MODEL), "size": len(MODEL)}
    begun = (await client.post("/api/v1/blobs/uploads", json=blob)).json()
    upload = f"/api/v1/blobs/uploads/{begun['id']}"
    sent = await client.patch(upload, content=MODEL, headers={"Upload-Offset": "0"})
    assert sent.status_code == 204, sent.text
    assert (await client.post(f"{upload}/complete")).status_code == 201
    made = await client.post("/api/v1/models/risk/versions", json={"artifact": blob})
    assert made.status_code == 201, made.text
    assert made.json()["created_by"] == "admin"
    return int(made.json()["number"])


async def report(
    control: Control, number: int, state: str, error: str = "", *, beside: tuple[int, ...] = ()
) -> None:
    """What a worker says of its engines; those of the versions ``beside`` are ready."""
    engine = {"model": "risk", "slot": 0, "address": "unix:/e"}
    engines = [{**engine, "version": one, "state": "ready"} for one in beside]
    engines.append({**engine, "version": number, "state": state, "error": error})
    body = {"id": "w1", "engines": engines}
    answer = await control.cluster.put("/internal/v1/workers/w1", json=body)
    assert answer.status_code == 204


async def test_a_version_is_published_once_a_worker_says_that_it_serves(control: Control) -> None:
    number = await register(control.admin)
    path = f"/api/v1/models/risk/versions/{number}"
    too_early = await control.admin.post(f"{path}/transitions", json={"to": "validated"})
    await report(control, number, "failed", "golden row 3 differs")
    failed = (await control.admin.get(path)).json()["serving"]
    control.clock.advance(1)
    await report(control, number, "ready")
    ready = (await control.admin.get(path)).json()["serving"]
    for to in ("validated", "approved", "published"):
        done = await control.admin.post(f"{path}/transitions", json={"to": to})
        assert done.status_code == 200, done.text
    moved = await control.admin.put("/api/v1/models/risk/rollout", json={"stable": number})

    assert too_early.status_code == 409
    assert (failed["state"], failed["error"]) == ("failed", "golden row 3 differs")
    assert ready["state"] == "ready"
    assert ready["engines"][0]["worker"] == "w1"
    assert moved.status_code == 200
    newest: dict[tuple[str, str], Change] = {
        (one.kind, one.key): one for one in control.services.stream.rows(0, 1000)
    }
    assert msgspec.json.decode(newest["model", "risk"].doc)["aliases"] == {"stable": number}
    assert msgspec.json.decode(newest["version", f"risk/{number}"].doc)["state"] == "published"


async def test_a_worker_fetches_the_bytes_of_a_blob(control: Control) -> None:
    await register(control.admin)

    found = await control.cluster.get(f"/internal/v1/blobs/{sha256_digest(MODEL)}")
    missing = await control.cluster.get(f"/internal/v1/blobs/sha256:{'0' * 64}")

    assert found.content == MODEL
    assert found.headers["Content-Length"] == str(len(MODEL))
    assert missing.status_code == 404


async def test_a_worker_goes_on_with_a_blob_where_the_transfer_broke(
    control: Control, tmp_path: Path
) -> None:
    number = await register(control.admin)
    shown = (await control.admin.get(f"/api/v1/models/risk/versions/{number}")).json()
    manifest = msgspec.convert(shown["manifest"], Manifest)
    statuses: list[int] = []

    async def seen(response: httpx.Response) -> None:
        statuses.append(response.status_code)

    control.cluster.event_hooks["response"].append(seen)
    cache = BlobCache(tmp_path, control.cluster)
    digits = sha256_digest(MODEL).removeprefix("sha256:")
    (tmp_path / "partial" / digits).write_bytes(MODEL[:50])
    await cache.stage(manifest, tmp_path / "engine")

    assert statuses == [206]
    assert (tmp_path / "engine" / ARTIFACT).read_bytes() == MODEL


async def test_metrics_have_templates_for_labels_not_what_clients_send(control: Control) -> None:
    for number in range(5):
        await control.admin.put(f"/api/v1/consumers/c-{number}")
        await control.admin.get(f"/api/v1/nothing-{number}")
    text = (await control.anonymous.get("/metrics")).text
    assert len(list(text_string_to_metric_families(text))) > 5  # it is valid

    assert 'handler="/api/v1/consumers/{consumer}"' in text
    assert "c-3" not in text
    assert "nothing" not in text
    assert "process_resident_memory_bytes" in text


async def test_a_database_that_does_not_answer_is_503_and_not_ready(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> Iterator[sa.Connection]:
        raise OperationalError("SELECT 1", None, Exception("connection refused at 10.0.0.7"))

    monkeypatch.setattr(type(control.services.database), "read", away)
    with capture_logs() as logged:
        ready = await control.anonymous.get("/readyz")
        alive = await control.anonymous.get("/healthz")
        unguarded_stream = await control.cluster.get("/internal/v1/changes")

    assert (ready.status_code, alive.status_code) == (503, 200)
    assert unguarded_stream.status_code == 503
    assert unguarded_stream.json()["code"] == "unavailable"
    assert unguarded_stream.headers["Retry-After"] == "1"
    assert "10.0.0.7" not in unguarded_stream.text + ready.text
    # Jobs that find the database away at the same time say so as well.
    told = [line["component"] for line in logged if line["event"] == "the database does not answer"]
    assert told == ["health", "control"]


async def test_values_that_no_database_takes_are_client_errors(control: Control) -> None:
    for path in (
        "/api/v1/consumers/%00",
        "/api/v1/applications?after=%00",
        "/api/v1/keys?application=%00",
        "/api/v1/changes?after=" + "9" * 40,
        "/api/v1/usage?after=" + "9" * 40,
    ):
        answer = await control.admin.get(path)
        assert answer.status_code < 500, path
    title = await control.admin.put("/api/v1/consumers/c", json={"title": "a\0b"})
    late = {"application": "shop", "expires_at": "9999-12-31T23:59:59-14:00"}
    await control.admin.put("/api/v1/applications/shop")
    assert title.status_code == 422
    assert (await control.admin.post("/api/v1/keys", json=late)).status_code == 422


async def test_two_publishers_that_make_the_same_things_at_once_both_succeed(
    control: Control,
) -> None:
    answers = await asyncio.gather(
        *(control.admin.put(f"/api/v1/applications/a-{n % 3}") for n in range(12))
    )

    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201] * 3


async def test_a_job_that_fails_is_logged_counted_and_run_again() -> None:
    metrics = Metrics()
    runs = 0
    again = asyncio.Event()
    loop = asyncio.get_running_loop()

    def flaky() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise OSError("disk")
        loop.call_soon_threadsafe(again.set)

    jobs = Jobs([Job("flaky", 0, 0.001, flaky)], threading.Event(), metrics)
    with capture_logs() as logged:
        jobs.open()
        await asyncio.wait_for(again.wait(), 5)
        await jobs.close()

    labels = {"job": "flaky", "outcome": "failed"}
    assert metrics.registry.get_sample_value("tollway_control_job_runs_total", labels) == 1
    assert logged[0]["job"] == "flaky"


async def test_a_long_scan_stops_when_the_process_does(tmp_path: Path) -> None:
    stop = threading.Event()
    store: BlobStore = InterruptibleStore(open_blob_store(str(tmp_path / "blobs")), stop)
    source = tmp_path / "source"
    source.write_bytes(b"x" * 10)
    digest = sha256_digest(b"x" * 10)
    store.put(digest, source)
    reading = asyncio.Event()
    loop = asyncio.get_running_loop()

    def scan() -> None:
        while True:
            assert b"".join(store.read(digest)) == b"x" * 10
            loop.call_soon_threadsafe(reading.set)

    jobs = Jobs([Job("scan", 0, 3600, scan)], stop, Metrics())
    jobs.open()
    await reading.wait()

    await asyncio.wait_for(jobs.close(), 5)

    with pytest.raises(Stopped):
        b"".join(store.read(digest))
