"""A version that nobody calls leaves the memory, and comes back when somebody does."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from protocol.configuration import EngineDoc, ModelDoc, ShadowDoc
from protocol.frames import Kind
from serving.agent import Agent
from tests.serving import models
from tests.serving.fake_control import FakeControl
from tests.serving.peer import Peer
from tests.serving.rig import one_input, version_of
from tests.serving.worker import Place, short_place

BODY = json.dumps(one_input([1, 2, 3], [1, 3])).encode()
WITHIN_S = 30.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with short_place(tmp_path) as found:
        yield found


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not done():  # noqa: ASYNC110 -- another process's doing
            await asyncio.sleep(0.01)


def model(idle_unload_s: int) -> ModelDoc:
    return ModelDoc(name="m", aliases={"stable": 1}, idle_unload_s=idle_unload_s)


def control_with(idle_unload_s: int) -> FakeControl:
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    control.put_model(model(idle_unload_s))
    control.put("m/1", version_of(models.manifest_of(graph), state="published"))
    return control


def engines(agent: Agent) -> set[int | None]:
    return {slot.pid for slot in agent.slots}


async def answered(agent: Agent, address: str) -> None:
    """Call the version, and see that its worker has heard of it."""
    (fleet,) = agent.fleets.values()
    told = fleet.told
    peer, hello = await Peer.connect(address, b"token")
    assert not hello.cold
    peer.infer(1, BODY)
    assert (await peer.reply(1)).status == 200
    peer.writer.close()
    await until(lambda: fleet.told > told)


async def cold(control: FakeControl) -> EngineDoc:
    found = await control.until("m", "cold")
    assert found is not None
    return found


async def woken(control: FakeControl, address: str) -> EngineDoc:
    """Wake it as a gateway does, and see it through."""
    peer = await standby(address)
    peer.send(Kind.WAKE)
    ready = await control.until("m", "ready")
    assert ready is not None
    assert await peer.read() is None, "who is connected is sent to the engine"
    assert ready.address == address, "in the same place"
    peer.writer.close()
    return ready


async def standby(address: str) -> Peer:
    """A connection to who listens in the engine's place, once the engine has left it."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                peer, hello = await Peer.connect(address, b"token")
            except OSError:  # nobody listens for a moment
                await asyncio.sleep(0.01)
                continue
            if hello.cold:
                return peer
            peer.writer.close()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("tcp", [False, True])
async def test_an_engine_goes_when_nobody_calls_and_comes_back_by_a_call(
    place: Place, tcp: bool
) -> None:
    control, clock = control_with(60), Clock()
    settings = {"engine_host": "127.0.0.1", "engine_first_port": 29_177} if tcp else {}
    async with place.working(control, clock, **settings) as agent:
        first = await control.until("m", "ready")
        assert first is not None
        (pid,) = engines(agent)
        await answered(agent, first.address)
        clock.now += 61
        sleeping = await cold(control)
        assert sleeping.address == first.address
        await until(lambda: not psutil.pid_exists(pid or 0))
        assert not agent.slots
        control.away = True  # whoever calls does not need it
        peer = await standby(sleeping.address)
        peer.send(Kind.STATS, id=5)
        assert (await peer.reply(5)).status == 200
        peer.infer(6, BODY)
        refused = await peer.reply(6)
        assert refused.status == 503, "a request that was on its way is told to come again"
        control.away = False
        ready = await control.until("m", "ready")
        peer.writer.close()
        assert ready == first
        await answered(agent, first.address)
        (fleet,) = agent.fleets.values()
        assert fleet.wakes == 1
        clock.now += 61
        await cold(control)
        await woken(control, first.address)
        await answered(agent, first.address)


async def test_a_shadow_stays_though_nobody_calls_it(place: Place) -> None:
    control, clock = control_with(60), Clock()
    shadowed = msgspec.structs.replace(model(60), shadows=(ShadowDoc(version=1),))
    control.put_model(shadowed)
    async with place.working(control, clock) as agent:
        assert await control.until("m", "ready") is not None
        (fleet,) = agent.fleets.values()
        for _ in range(3):
            clock.now += 61
            fleet.adjust()
            assert [doc.state for doc in fleet.documents] == ["ready"]
        control.put_model(model(60))
        await cold(control)


async def test_calls_put_it_off(place: Place) -> None:
    control, clock = control_with(60), Clock()
    async with place.working(control, clock) as agent:
        first = await control.until("m", "ready")
        assert first is not None
        (fleet,) = agent.fleets.values()
        for _ in range(3):
            clock.now += 40
            await answered(agent, first.address)
            fleet.adjust()
            assert len(agent.slots) == 1


async def test_a_worker_that_starts_does_not_load_what_was_let_go_of(place: Place) -> None:
    control, clock = control_with(60), Clock()
    async with place.working(control, clock):
        first = await control.until("m", "ready")
        assert first is not None
    control.away = True
    async with place.working(control, clock) as agent:
        peer = await standby(first.address)
        assert agent.ready()
        peer.send(Kind.WAKE)
        assert await peer.read() is None
        peer.writer.close()
        await answered(agent, first.address)


async def test_a_model_that_is_to_stay_is_loaded_again(place: Place) -> None:
    control, clock = control_with(60), Clock()
    async with place.working(control, clock):
        await control.until("m", "ready")
        clock.now += 61
        await cold(control)
        control.put_model(model(0))
        await control.until("m", "ready")


async def test_a_cold_version_that_is_unloaded_leaves_its_place(place: Place) -> None:
    control, clock = control_with(60), Clock()
    async with place.working(control, clock) as agent:
        await control.until("m", "ready")
        clock.now += 61
        sleeping = await cold(control)
        peer = await standby(sleeping.address)
        control.put("m/1", None)
        await control.until("m", None)
        assert not agent.fleets
        with pytest.raises(OSError):  # noqa: PT011 -- which one, the system decides
            await Peer.connect(sleeping.address)
        peer.writer.close()


async def test_an_engine_that_cannot_be_started_at_a_call_is_started_when_it_can(
    place: Place,
) -> None:
    control, clock = control_with(60), Clock()
    async with place.working(control, clock) as agent:
        await control.until("m", "ready")
        (fleet,) = agent.fleets.values()
        clock.now += 61
        sleeping = await cold(control)
        finding = agent._findings._path(fleet.version.digest)
        finding.mkdir(parents=True)  # what is no file cannot be read
        peer = await standby(sleeping.address)
        peer.send(Kind.WAKE)
        await until(lambda: fleet._overdue)
        peer.send(Kind.STATS, id=5)
        assert (await peer.reply(5)).status == 200, "who woke it is still connected"
        assert not agent.slots
        finding.rmdir()
        await control.until("m", "ready")
        assert fleet.wakes == 1
        peer.writer.close()


async def test_a_peer_that_does_not_prove_itself_wakes_nobody(place: Place) -> None:
    control, clock = control_with(60), Clock()
    tcp = {"engine_host": "127.0.0.1", "engine_first_port": 29_187}
    async with place.working(control, clock, **tcp) as agent:
        await control.until("m", "ready")
        clock.now += 61
        sleeping = await cold(control)
        good = await standby(sleeping.address)
        peer, _ = await Peer.connect(sleeping.address, b"another token")
        peer.send(Kind.WAKE)
        assert await peer.read() is None
        good.send(Kind.STATS, id=1)
        assert (await good.reply(1)).status == 200
        assert not agent.slots
        for one in (good, peer):
            one.writer.close()
