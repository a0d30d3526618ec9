"""Every id that was answered can be told: its epoch is on disk before the answer leaves."""

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest

from gateway.app import Gateway
from gateway.receipts import SUFFIX, Receipts
from gateway.settings import GatewaySettings
from policies.base import Call
from protocol.receipts import EngineRuntime, EpochRecord, Served, parse_id
from tests.gateway.documents import World, digest
from tests.gateway.fake_engine import FakeEngine

INFER = "/v2/models/iris/infer"
RUNTIME = EngineRuntime(name="onnxruntime", version="1.32.0", provider="CPU", threads=2)


def written(folder: Path) -> dict[int, EpochRecord]:
    """The epochs in the folder's only file."""
    (path,) = folder.glob("*" + SUFFIX)
    decoder = msgspec.json.Decoder(EpochRecord)
    return {found.epoch: found for found in decoder.decode_lines(path.read_bytes())}


def epochs_of(settings: GatewaySettings) -> dict[int, EpochRecord]:
    return written(settings.data_dir / "gateway" / "epochs")


def epoch_in(answer: httpx.Response) -> int:
    found = parse_id(answer.headers["tollway-prediction-id"])
    assert found is not None
    return found.epoch


def answered_by(served: Served | None, version: int = 2, revision: int = 7) -> Call:
    return Call(model="iris", version=version, revision=revision, served=served)


def named(receipts: Receipts, call: Call) -> tuple[int, int]:
    assert receipts.name(call)
    found = parse_id(call.prediction_id.decode())
    assert found is not None
    return found.epoch, found.number


@pytest.fixture
def receipts(tmp_path: Path) -> Receipts:
    return Receipts(tmp_path, gateway="g1", now=lambda: 1000.0)


def an_engine(runtime: EngineRuntime | None = RUNTIME) -> Served:
    return Served(by="engine", model="iris", version=2, digest=digest("iris", 2), runtime=runtime)


@pytest.fixture
async def engine(run_dir: Path) -> AsyncIterator[FakeEngine]:
    fake = FakeEngine(run_dir / "e1.sock", "iris", 2, digest("iris", 2))
    fake.hello = msgspec.structs.replace(fake.hello, runtime=RUNTIME)
    await fake.start()
    yield fake
    await fake.kill()


async def test_an_answers_epoch_names_version_digest_and_runtime(
    client: httpx.AsyncClient, settings: GatewaySettings
) -> None:
    answer = await client.post(INFER, content=b"{}")
    epoch = epochs_of(settings)[epoch_in(answer)]
    assert (epoch.by, epoch.model, epoch.version, epoch.digest, epoch.runtime) == (
        "engine",
        "iris",
        2,
        digest("iris", 2),
        RUNTIME,
    )


async def test_an_epoch_is_written_before_its_answer_leaves(
    client: httpx.AsyncClient, gateway: Gateway, settings: GatewaySettings, engine: FakeEngine
) -> None:
    """As a gateway that is killed at the moment of the answer would leave it."""
    seen: list[dict[int, EpochRecord]] = []
    append = gateway.usage.append
    gateway.usage.append = lambda *given: (seen.append(epochs_of(settings)), append(*given))[1]  # type: ignore[method-assign]
    answer = await client.post(INFER, content=b"{}")
    assert answer.status_code == 200
    assert epoch_in(answer) in seen[0]


async def test_what_no_engine_answered_is_named_by_the_gateway(
    client: httpx.AsyncClient, settings: GatewaySettings, world: World
) -> None:
    late = await client.post("/v2/models/iris/versions/1/infer", content=b"{}")
    stranger = await client.post(INFER, content=b"{}", headers={"x-api-key": "tw_live_x"})
    unknown = await client.post("/v2/models/nothing/infer", content=b"{}")
    assert (late.status_code, stranger.status_code, unknown.status_code) == (503, 401, 404)
    epochs = epochs_of(settings)
    refused = epochs[epoch_in(late)]
    assert (refused.by, refused.version, refused.digest) == ("gateway", 1, digest("iris", 1))
    assert epoch_in(stranger) == epoch_in(unknown) == 0
    assert epochs[0].model == ""


async def test_an_answer_whose_epoch_cannot_be_written_is_not_given(
    client: httpx.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_record: EpochRecord) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(gateway.receipts, "_write", full)
        refused = await client.post(INFER, content=b"{}")
    assert refused.status_code == 503
    assert epoch_in(refused) == 0
    assert gateway.receipts.failures == 1
    assert epoch_in(await client.post(INFER, content=b"{}")) == 1


def test_an_epoch_lasts_as_long_as_nothing_changes(receipts: Receipts, tmp_path: Path) -> None:
    one, other = an_engine(), an_engine()
    assert [named(receipts, answered_by(s)) for s in (one, other, one)] == [(1, 1), (1, 2), (1, 3)]
    assert len(written(tmp_path)) == 2


@pytest.mark.parametrize("change", ["runtime", "revision", "version"])
def test_any_change_begins_an_epoch(receipts: Receipts, tmp_path: Path, change: str) -> None:
    assert named(receipts, answered_by(an_engine()))[0] == 1
    served, revision = an_engine(), 7
    if change == "runtime":
        served = an_engine(msgspec.structs.replace(RUNTIME, version="1.33.0"))
    elif change == "version":
        served = msgspec.structs.replace(served, version=3)
    else:
        revision = 8
    assert named(receipts, answered_by(served, revision=revision))[0] == 2
    assert written(tmp_path)[2].revision == revision


def test_calls_chosen_before_a_change_keep_their_configuration(receipts: Receipts) -> None:
    engine = an_engine()
    found = [named(receipts, answered_by(engine, revision=r))[0] for r in (7, 8, 7, 8, 8)]
    assert found == [1, 2, 1, 2, 2]


def test_half_a_line_does_not_spoil_the_next(
    receipts: Receipts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write

    def half(descriptor: int, data: bytes) -> int:
        if data.startswith(b"{"):
            return whole(descriptor, data[:20])
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("os.write", half)
        assert not receipts.name(answered_by(an_engine()))
    assert named(receipts, answered_by(an_engine()))[0] == 1
    (path,) = tmp_path.glob("*" + SUFFIX)
    lines = path.read_bytes().splitlines()
    assert [msgspec.json.decode(lines[n], type=EpochRecord).epoch for n in (0, 2)] == [0, 1]


class Control:
    """Takes epochs, or is away."""

    def __init__(self) -> None:
        self.away = False
        self.lines: list[bytes] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            return httpx.Response(503)
        assert request.content.endswith(b"\n")
        self.lines += request.content.splitlines()
        return httpx.Response(204)


async def test_what_a_killed_run_left_is_shipped_by_the_next(tmp_path: Path) -> None:
    control = Control()
    transport = httpx.MockTransport(control)
    async with httpx.AsyncClient(transport=transport, base_url="http://control") as client:
        killed = Receipts(tmp_path, gateway="g1", now=lambda: 1000.0)
        killed.name(answered_by(an_engine()))
        named_last = killed._path.read_bytes()
        with killed._path.open("ab") as file:
            file.write(b'{"process": "torn')
        following = Receipts(tmp_path, gateway="g1", now=lambda: 1001.0)
        control.away = True
        with pytest.raises(httpx.HTTPStatusError):
            await following.ship(client)
        control.away = False
        await following.ship(client)
        await following.ship(client)
        assert [path.name for path in tmp_path.iterdir()] == [following._path.name]
        following.name(answered_by(an_engine()))
        await following.ship(client)
    assert set(named_last.splitlines()) <= set(control.lines)
    assert len(control.lines) == 4
