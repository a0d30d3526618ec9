"""A prediction id tells what answered, to those who may know of the model."""

import httpx
import msgspec
import pytest

from control import receipts
from control.store.receipts import Epochs
from protocol.manifest import sha256_digest
from protocol.receipts import EngineRuntime, EpochRecord, PredictionId, parse_id
from registry.store.database import Database
from tests.control.running import START_MS, Control, FakeClock
from tests.control.tenants import Tenant, tenant
from tests.control.test_composition import MODEL, register

DAY_S = 86_400
PROCESS = "0123456789abcdef"
RUNTIME = EngineRuntime(
    name="onnxruntime", version="1.32.0", provider="CPU", threads=1, processor="Fast", software="1"
)


def epoch(number: int = 1, **changes: object) -> EpochRecord:
    record = EpochRecord(
        process=PROCESS,
        epoch=number,
        gateway="g1",
        begun_ms=START_MS,
        by="engine",
        model="risk",
        version=1,
        digest="sha256:" + "1" * 64,
        runtime=RUNTIME,
        revision=12,
    )
    return msgspec.structs.replace(record, **changes)


def lines(*records: EpochRecord) -> bytes:
    return b"".join(msgspec.json.encode(record) + b"\n" for record in records)


async def tell(control: Control, body: bytes) -> None:
    answer = await control.cluster.post("/internal/v1/epochs", content=body)
    assert answer.status_code == 204


async def ask(client: httpx.AsyncClient, id: str) -> httpx.Response:
    return await client.get(f"/api/v1/predictions/{id}")


async def test_a_receipt_names_artifact_version_runtime_and_configuration(
    control: Control,
) -> None:
    await register(control.admin)
    await tell(control, lines(epoch()))
    answer = await ask(control.admin, f"{PROCESS}-1-2a")
    assert answer.json() == {
        "id": f"{PROCESS}-1-2a",
        "answered_by": "engine",
        "model": "risk",
        "version": 1,
        "manifest_digest": "sha256:" + "1" * 64,
        "artifact_digest": sha256_digest(MODEL),
        "runtime": {
            "name": "onnxruntime",
            "version": "1.32.0",
            "provider": "CPU",
            "threads": 1,
            "software": "1",
            "processor": "Fast",
        },
        "configuration_revision": 12,
        "begun_at": "2027-01-15T08:00:00.000Z",
        "gateway": "g1",
    }


async def test_epoch_of_refusals_says_that_nothing_ran(control: Control) -> None:
    nothing = EpochRecord(process=PROCESS, epoch=0, gateway="g1", begun_ms=START_MS)
    await tell(control, lines(nothing))
    found = (await ask(control.admin, f"{PROCESS}-0-1")).json()
    assert (found["answered_by"], found["model"], found["runtime"]) == ("gateway", None, None)


@pytest.mark.parametrize(
    ("id", "reason"),
    [
        (f"{PROCESS}-1f", "earlier release"),
        ("hello", "not a prediction id"),
        (f"{PROCESS}-1-1", "no gateway has told"),
        (f"{PROCESS.upper()}-1-1", "not a prediction id"),
        (f"{PROCESS}-ffffffff-1", "not a prediction id"),
    ],
)
async def test_what_stands_for_nothing_is_404_with_its_reason(
    control: Control, id: str, reason: str
) -> None:
    answer = await ask(control.admin, id)
    assert answer.status_code == 404
    assert reason in answer.json()["detail"]


async def test_others_are_told_of_what_is_published_and_of_no_machine(control: Control) -> None:
    red = await tenant(control, "red")
    blue = await tenant(control, "blue")
    try:
        told = [epoch(1, model=blue.public), epoch(2, model=blue.private)]
        await tell(control, lines(*told))
        await _only_owners_see_the_private(control, red, blue)
    finally:
        await red.close()
        await blue.close()


async def _only_owners_see_the_private(control: Control, red: Tenant, blue: Tenant) -> None:
    public, private = f"{PROCESS}-1-1", f"{PROCESS}-2-1"
    for other in (red.publisher, red.consumer, blue.consumer):
        seen = (await ask(other, public)).json()
        assert seen["model"] == blue.public
        assert (seen["gateway"], seen["runtime"]["processor"]) == (None, None)
        assert (await ask(other, private)).status_code == 404
    for owner in (blue.publisher, control.admin):
        assert (await ask(owner, private)).json()["gateway"] == "g1"


def test_an_epoch_that_is_told_again_changes_nothing(database: Database) -> None:
    epochs = Epochs(database, FakeClock(), 100)
    epochs.ingest([epoch(), epoch()])
    epochs.ingest([epoch(version=9)])
    assert epochs.get(PredictionId(PROCESS, 1, 0)) == epoch()
    assert epochs.get(PredictionId(PROCESS, 2, 0)) is None


async def test_epochs_are_kept_as_long_as_usage_after_the_last_answer_that_named_them(
    control: Control, database: Database
) -> None:
    epochs = Epochs(database, control.clock, 100)
    other = "f" * 16

    def run(process: str, gateway: str) -> list[EpochRecord]:
        named = {"process": process, "gateway": gateway}
        refusals = EpochRecord(**named, epoch=0, begun_ms=START_MS)  # type: ignore[arg-type]
        later = epoch(2, **named, revision=13)
        return [refusals, epoch(1, **named), later]

    def known() -> list[str]:
        found = [(process, number) for process in (PROCESS, other, "e" * 16) for number in range(3)]
        return [f"{p[0]}{n}" for p, n in found if epochs.get(PredictionId(p, n, 0)) is not None]

    epochs.ingest([*run(PROCESS, "g1"), *run(other, "g2")])
    body = {"id": "g1", "counters": "memory", "version": "1", "started_ms": 1}
    await control.cluster.put("/internal/v1/gateways/g1", json=body)

    control.clock.advance(100.5 * DAY_S)
    assert epochs.retain() == 0
    control.clock.advance(DAY_S)
    assert epochs.retain() == 4
    assert known() == ["00", "02"]  # what the gateway that runs may still name

    newer = [msgspec.structs.replace(one, begun_ms=control.clock()) for one in run("e" * 16, "g1")]
    epochs.ingest(newer)
    control.clock.advance(100 * DAY_S)
    assert epochs.retain() == 0
    control.clock.advance(1.5 * DAY_S)
    assert epochs.retain() == 3
    assert known() == ["e0", "e2"]


def test_damaged_lines_keep_no_others_from_being_known() -> None:
    bad = [epoch(process="../"), epoch(version=-1), epoch(model="m" * 64), epoch(digest="x" * 72)]
    body = b'{"process": "0123\n' + lines(epoch(3), *bad, epoch(4)) + b"[]\n\xff\n"
    records, damaged = receipts.decode_epochs(body)
    assert [record.epoch for record in records] == [3, 4]
    assert damaged == 3 + len(bad)


def test_parts_of_an_id() -> None:
    assert parse_id(f"{PROCESS}-1f-2A".lower()) == PredictionId(PROCESS, 31, 42)
