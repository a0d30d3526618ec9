"""Several engines of one version: real processes, started and taken away by their load."""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocol.configuration import EngineDoc
from protocol.frames import Frame, Kind
from serving.agent import Agent
from serving.fleet import Fleet
from serving.room import Room
from serving.settings import WorkerSettings
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


def slots(control: FakeControl) -> dict[int, EngineDoc]:
    """The engines that were last reported, by slot."""
    return {e.slot: e for e in control.reports[-1].engines} if control.reports else {}


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not done():  # noqa: ASYNC110 -- another process's doing
            await asyncio.sleep(0.01)


class Load:
    """Keeps requests waiting in one engine, and counts what becomes of them."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.sent = 0
        self.answers: list[Frame] = []
        self.wanted = True
        self.drained = False

    async def keep(self, waiting: int) -> None:
        """Ask again and again until it is not wanted any more, or the engine drains."""
        for _ in range(waiting):
            self._ask()
        while len(self.answers) < self.sent:
            frame = await self._peer.read()
            assert frame is not None, "the engine left without an answer"
            if frame.kind == Kind.DRAIN:
                self.drained = True
                continue
            self.answers.append(frame)
            if self.wanted and not self.drained:
                self._ask()

    def _ask(self) -> None:
        self.sent += 1
        self._peer.infer(self.sent, BODY)

    @property
    def statuses(self) -> set[int]:
        """What was answered."""
        return {frame.status for frame in self.answers}


async def test_load_brings_engines_idleness_takes_them_and_nothing_is_lost(place: Place) -> None:
    control = FakeControl()
    graph = models.heavy()
    control.add_model(graph)
    control.put("m/1", version_of(models.manifest_of(graph)))
    async with place.working(control, engines_max=2, engines_idle_s=1) as agent:
        first = await control.until("m", "ready")
        assert first is not None
        peer, _ = await Peer.connect(first.address)
        load = Load(peer)
        keeping = asyncio.create_task(load.keep(8))
        await until(lambda: 1 in slots(control) and slots(control)[1].state == "ready")
        second, _ = await Peer.connect(slots(control)[1].address)
        other = Load(second)
        helping = asyncio.create_task(other.keep(2))
        await until(lambda: len(other.answers) > 4)
        load.wanted = False
        await keeping
        # Little is asked of the second engine: one is enough, and it answers what it has first.
        other.wanted = False
        await helping
        last = asyncio.create_task(other.keep(1))
        await last
        await until(lambda: set(slots(control)) == {0})
        assert load.statuses == other.statuses == {200}
        assert len(load.answers) == load.sent
        (fleet,) = agent.fleets.values()
        assert (fleet.ups, fleet.downs) == (1, 1)
        frame = await second.read()
        assert frame is not None
        assert frame.kind == Kind.DRAIN, "an engine says so before it goes"
        for one in (peer, second):
            one.writer.close()


async def test_a_minimum_is_there_without_load_and_a_killed_engine_comes_back(
    place: Place,
) -> None:
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    control.put("m/1", version_of(models.manifest_of(graph)))

    def ready(count: int) -> bool:
        found = slots(control)
        return len(found) == count and all(e.state == "ready" for e in found.values())

    async with place.working(control, engines_min=3, engines_max=3) as agent:
        await until(lambda: ready(3))
        before = {slot.pid for slot in agent.slots}
        assert len(before) == 3
        victim = agent.slots[1].pid
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        await until(lambda: slots(control)[1].state == "starting")
        await until(lambda: ready(3))
        after = {slot.pid for slot in agent.slots}
        assert len(after & before) == 2
        for doc in slots(control).values():
            peer, _ = await Peer.connect(doc.address)
            peer.infer(1, BODY)
            assert (await peer.reply(1)).status == 200
            peer.writer.close()


async def test_a_version_that_does_not_load_gets_no_second_engine(place: Place) -> None:
    control = FakeControl()
    graph = models.linear(2)
    golden = models.golden_bytes(
        one_input([1, 2], [1, 2], name="input"),
        {"outputs": [{"name": "prediction", "shape": [1, 1], "data": [9]}]},
    )
    control.add_model(graph)
    control.add_blob(golden)
    async with place.working(control, engines_min=3, engines_max=3) as agent:
        control.put("m/1", version_of(models.manifest_of(graph, golden=golden)))
        await control.until("m", "failed")
        (fleet,) = agent.fleets.values()
        fleet.adjust()
        assert list(fleet.slots) == [0]


async def test_engines_on_tcp_have_a_port_each_and_give_it_back(place: Place) -> None:
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    control.put("m/1", version_of(models.manifest_of(graph)))
    tcp = {"engine_host": "127.0.0.1", "engine_first_port": 29_157, "engine_ports": 2}
    async with place.working(control, engines_min=2, engines_max=2, **tcp):
        await until(lambda: len(slots(control)) == 2)
        assert {e.address for e in slots(control).values()} == {
            "tcp:127.0.0.1:29157", "tcp:127.0.0.1:29158"
        }  # fmt: skip
        control.put("m/1", None)
        await control.until("m", None)
        control.put("m/1", version_of(models.manifest_of(graph)))
        await control.until("m", "ready")


class _Slot:
    pid = 1


class _Fleet:
    """As much of a fleet as room is judged by."""

    def __init__(self, processes: int, minimum: int = 1) -> None:
        self.processes = processes
        self.minimum = minimum
        self.slots = {0: _Slot()}


def room(place: Place, free_mb: int, size_mb: int, **settings: int) -> Room:
    chosen: WorkerSettings = place.settings.model_copy(update=settings)
    return Room(chosen, lambda: free_mb << 20, lambda _: size_mb << 20)


def why_not(room: Room, *fleets: _Fleet) -> str:
    found: list[Fleet] = list(fleets)  # type: ignore[arg-type]
    return room.why_not(found[0], found)


def test_extra_engines_are_bounded_over_all_versions(place: Place) -> None:
    bounded = room(place, 8000, 100, engines_extra_max=2)
    assert not why_not(bounded, _Fleet(2), _Fleet(1))
    assert "TOLLWAY_ENGINES_EXTRA_MAX" in why_not(bounded, _Fleet(2), _Fleet(2))
    assert not why_not(bounded, _Fleet(3, minimum=2), _Fleet(1))


def test_no_engine_is_added_that_would_leave_too_little_memory(place: Place) -> None:
    settings = {"engines_extra_max": 9, "engines_reserve_mb": 500}
    assert not why_not(room(place, 1000, 400, **settings), _Fleet(1))
    assert "TOLLWAY_ENGINES_RESERVE_MB" in why_not(room(place, 1000, 600, **settings), _Fleet(1))


async def test_an_engine_that_finds_no_room_is_said_once(place: Place) -> None:
    control = FakeControl()
    graph = models.heavy()
    control.add_model(graph)
    control.put("m/1", version_of(models.manifest_of(graph)))
    settings = {"engines_max": 2, "engines_extra_max": 0}
    async with place.working(control, **settings) as agent:
        first = await control.until("m", "ready")
        assert first is not None
        peer, _ = await Peer.connect(first.address)
        load = Load(peer)
        keeping = asyncio.create_task(load.keep(8))
        await until(lambda: refusal(agent) != "")
        load.wanted = False
        await keeping
        assert len(agent.slots) == 1
        peer.writer.close()


def refusal(agent: Agent) -> str:
    """Why there is no further engine."""
    (fleet,) = agent.fleets.values()
    return fleet.refused
