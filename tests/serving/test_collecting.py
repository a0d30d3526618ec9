"""Summaries reach control once each, whatever is lost on the way."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import msgspec
import pytest

from protocol.frames import Hello
from protocol.shadowing import Disagreements
from serving.collecting import Collector, Key
from serving.engine import Engine
from serving.fleet import Fleet
from serving.listening import listen
from tests.serving.conftest import MakeRig
from tests.serving.test_engine import connected
from tests.serving.test_shadow_work import done, mirrored, send, table

KEY = ("m", 1)
TOKEN = b"cluster-token"


class Control:
    """Counts what it takes as control does, and fails as its test says."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self.requests = 0
        self.came: list[int] = []
        self.statuses: list[int] = []
        self.lost = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        found = msgspec.msgpack.decode(request.content, type=Disagreements)
        self.came.append(found.sequence)
        status = self.statuses.pop(0) if self.statuses else 204
        if status == 204 and found.sequence > self.known.get(found.instance, 0):
            self.known[found.instance] = found.sequence
            self.requests += sum(tally.requests for _, tally in found.tallies)
        if self.lost:
            self.lost -= 1
            raise httpx.ReadError("the answer was lost")
        return httpx.Response(status)


class Stand:
    """An engine that listens, its worker's collector, and control."""

    def __init__(self, engine: Engine, address: str) -> None:
        self.engine = engine
        self.control = Control()
        self.shadows: set[Key] = {KEY}
        slot = SimpleNamespace(doc=SimpleNamespace(state="ready"), address=address)
        version = SimpleNamespace(model="m", number=1)
        self.fleet = cast("Fleet", SimpleNamespace(version=version, slots={0: slot}))
        client = httpx.AsyncClient(
            transport=httpx.MockTransport(self.control), base_url="http://control"
        )
        self.collector = Collector(client, TOKEN, lambda: [self.fleet], lambda: self.shadows)

    async def shadowed(self, count: int) -> None:
        connection, _, replies = connected(self.engine)
        send(connection, 1, [mirrored([[1.0, 1.0]], [1.5])] * count)
        await done(1, replies)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tw-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def stand(rig: MakeRig, run_dir: Path) -> AsyncIterator[Stand]:
    made = table(rig)
    engine = Engine(
        made.signature,
        made.batcher(),
        Hello("m", 1, "sha256:0", instance="e1"),
        report_defect=made.defects.append,
    )
    server = await listen(engine, f"unix:{run_dir}/e.sock")
    yield Stand(engine, f"unix:{run_dir}/e.sock")
    server.close()
    for connection in list(engine.connections):
        connection.abort()


async def test_what_was_compared_reaches_control_once(stand: Stand) -> None:
    for count in (2, 3):
        await stand.shadowed(count)
        await stand.collector.collect()
    await stand.collector.collect()
    assert (stand.control.came, stand.control.requests) == ([1, 2], 5)


async def test_what_control_did_not_take_comes_again(stand: Stand) -> None:
    stand.control.statuses = [503, 500]
    await stand.shadowed(2)
    for _ in range(2):
        await stand.collector.collect()
        await stand.shadowed(1)
    for _ in range(3):
        await stand.collector.collect()
    assert (stand.control.came, stand.control.requests) == ([1, 1, 1, 2], 4)


async def test_an_answer_that_is_lost_counts_nothing_twice(stand: Stand) -> None:
    stand.control.lost = 1
    await stand.shadowed(2)
    await stand.collector.collect()
    await stand.collector.collect()
    assert (stand.control.came, stand.control.requests) == ([1, 1], 2)


async def test_what_control_refuses_is_given_up(stand: Stand) -> None:
    stand.control.statuses = [422]
    await stand.shadowed(2)
    await stand.collector.collect()
    await stand.shadowed(1)
    await stand.collector.collect()
    assert (stand.control.came, stand.control.requests) == ([1, 2], 1)


async def test_a_collector_that_starts_anew_asks_again_for_what_it_did_not_bring(
    stand: Stand,
) -> None:
    await stand.shadowed(2)
    await stand.collector.collect()
    client = httpx.AsyncClient(
        transport=httpx.MockTransport(stand.control), base_url="http://control"
    )
    other = Collector(client, TOKEN, lambda: [stand.fleet], lambda: {KEY})
    await other.collect()
    await other.collect()
    assert stand.control.requests == 2


async def test_versions_that_are_no_shadows_are_not_asked(stand: Stand) -> None:
    stand.shadows = set()
    await stand.shadowed(2)
    await stand.collector.collect()
    assert stand.control.came == []


async def test_a_version_that_was_a_shadow_tells_the_rest(stand: Stand) -> None:
    await stand.collector.collect()
    await stand.shadowed(2)
    stand.shadows = set()
    for _ in range(3):
        await stand.collector.collect()
    assert stand.control.came == [1]


async def test_an_engine_that_is_gone_holds_nobody_up(stand: Stand) -> None:
    slots: dict[int, Any] = stand.fleet.slots  # type: ignore[assignment]  # the stand's own
    slots[1] = SimpleNamespace(doc=SimpleNamespace(state="ready"), address="unix:/nowhere")
    await stand.shadowed(2)
    await stand.collector.collect([stand.fleet])
    assert stand.control.requests == 2
