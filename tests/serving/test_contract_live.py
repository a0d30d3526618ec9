"""A contract on the change stream holds in engines that serve, and they are not started again."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from protocol.configuration import ColumnRule, ContractDoc, EngineDoc, ModelDoc
from protocol.frames import WARNED, Frame
from serving.agent import Agent
from serving.launch import EngineChange, EngineOrder
from serving.metrics import scrape
from serving.orders import Orders
from tests.serving import models
from tests.serving.fake_control import FakeControl
from tests.serving.peer import Peer
from tests.serving.rig import one_input, version_of
from tests.serving.worker import Place, short_place

WITHIN_S = 20.0
INSIDE = json.dumps(one_input([1, 2, 3], [1, 3])).encode()
OUTSIDE = json.dumps(one_input([1, 2, 300], [1, 3])).encode()
RULES = (ColumnRule(column="x", maximum=9),)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with short_place(tmp_path) as found:
        yield found


def control_with(contract: ContractDoc | None) -> FakeControl:
    control = FakeControl()
    graph = models.identity()
    control.add_model(graph)
    control.put_model(ModelDoc(name="m", contract=contract))
    control.put("m/1", version_of(models.manifest_of(graph)))
    return control


class Caller:
    """Asks an engine the same two questions without end, several at a time, and keeps what it
    hears of the second in the order in which it was asked."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._sent = 0
        self.heard: list[tuple[int, int]] = []
        self.wrong: list[Frame] = []

    async def ask(self) -> None:
        """One round: eight requests under way at once, every second outside of the contract."""
        first = self._sent
        for id in range(first, first + 8):
            self._peer.infer(id, OUTSIDE if id % 2 else INSIDE)
        self._sent += 8
        for _ in range(8):
            reply = await self._peer.read()
            assert reply is not None
            if reply.id % 2:
                self.heard.append((reply.status, reply.flags & WARNED))
            elif (reply.status, reply.flags & WARNED) != (200, 0):
                self.wrong.append(reply)

    def close(self) -> None:
        self._peer.writer.close()

    async def until(self, heard: tuple[int, int]) -> None:
        """Ask until this is what the second question hears."""
        async with asyncio.timeout(WITHIN_S):
            while not self.heard or self.heard[-1] != heard:
                await self.ask()


async def connect(document: EngineDoc | None) -> Peer:
    assert document is not None
    peer, _ = await Peer.connect(document.address, b"token")
    return peer


def pids(agent: Agent) -> set[int | None]:
    return {slot.pid for slot in agent.slots}


async def test_a_contract_changes_under_load_without_a_new_engine_or_a_wrong_answer(
    place: Place,
) -> None:
    control = control_with(None)
    async with place.working(control) as agent:
        caller = Caller(await connect(await control.until("m", "ready")))
        before = pids(agent)
        await caller.until((200, 0))
        for contract, heard in (
            (ContractDoc(mode="enforce", rules=RULES), (422, 0)),
            (ContractDoc(mode="warn", rules=RULES), (200, WARNED)),
            (ContractDoc(mode="enforce", rules=RULES), (422, 0)),
            (None, (200, 0)),
        ):
            control.put_model(ModelDoc(name="m", contract=contract))
            await caller.until(heard)
        text = await scrape(agent.fleets.values(), b"token")
        caller.close()

        assert pids(agent) == before
    assert caller.wrong == []
    changes = [
        now for last, now in zip(caller.heard, caller.heard[1:], strict=False) if now != last
    ]
    assert changes == [(422, 0), (200, WARNED), (422, 0), (200, 0)], "each holds at once, for good"
    refused = caller.heard.count((422, 0))
    labels = 'model="m",version="1",slot="0"'
    assert f'tollway_engine_contract_requests_total{{{labels},outcome="refused"}} {refused}' in text
    assert f'tollway_engine_contract_values_total{{{labels},column="x",rule="maximum"}}' in text


async def test_an_engine_that_is_started_again_keeps_the_contract(place: Place) -> None:
    control = control_with(ContractDoc(mode="enforce", rules=RULES))
    async with place.working(control) as agent:
        peer = await connect(await control.until("m", "ready"))
        control.put_model(
            ModelDoc(name="m", contract=ContractDoc(mode="warn", rules=RULES)),
        )
        caller = Caller(peer)
        await caller.until((200, WARNED))
        caller.close()
        [pid] = pids(agent)
        assert pid is not None
        os.kill(pid, 9)
        await control.until("m", "starting")
        again = Caller(await connect(await control.until("m", "ready")))

        await again.ask()
        again.close()

        assert again.heard == [(200, WARNED)] * 4


async def test_a_change_that_comes_while_the_engine_starts_is_not_lost(place: Place) -> None:
    control = control_with(ContractDoc(mode="enforce", rules=RULES))
    async with place.working(control) as agent:
        async with asyncio.timeout(WITHIN_S):
            while not agent.slots:  # noqa: ASYNC110 -- the first moment that there is one
                await asyncio.sleep(0)
        control.put_model(ModelDoc(name="m"))
        caller = Caller(await connect(await control.until("m", "ready")))

        await caller.ask()
        caller.close()

        assert caller.heard == [(200, 0)] * 4


async def test_changes_are_read_however_they_are_cut() -> None:
    order = EngineOrder(
        model="m",
        version=1,
        slot=0,
        digest="d",
        manifest=models.manifest_of(models.identity()),
        folder="",
        artifact="",
        address="",
    )
    change = EngineChange(contract=ContractDoc(mode="warn", rules=RULES))
    reader, writer = os.pipe()
    heard: list[EngineChange] = []
    line = msgspec.json.encode(change) + b"\n"
    os.write(writer, msgspec.json.encode(order) + b"\n" + line + line[:9])
    orders = Orders(reader)

    assert orders.first() == order
    orders.follow(heard.append)
    assert heard == [change]
    os.write(writer, line[9:] + line)
    os.close(writer)
    async with asyncio.timeout(WITHIN_S):
        while len(heard) < 3:  # noqa: ASYNC110 -- a pipe's other end
            await asyncio.sleep(0)

    assert heard == [change] * 3
    asyncio.get_running_loop().remove_reader(reader)
    os.close(reader)
