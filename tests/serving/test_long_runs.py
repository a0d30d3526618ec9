"""A long run does not stop its engine from reading: it answers, refuses and counts meanwhile."""

import json
from pathlib import Path

import msgspec

from protocol.frames import EngineStats, Kind
from tests.serving import models
from tests.serving.peer import Peer, Started
from tests.serving.rig import one_input

BODY = json.dumps(one_input([1, 2, 3], [1, 3])).encode()


async def test_an_engine_answers_others_while_a_long_run_is_under_way(tmp_path: Path) -> None:
    engine = Started(models.heavy(products=250), tmp_path)
    try:
        busy, _ = await Peer.connect(engine.order.address)
        busy.infer(1, BODY)
        other, hello = await Peer.connect(engine.order.address)
        assert hello.model == "m", "it greets who comes"
        answered = 0
        for number in range(2, 12):
            other.send(Kind.STATS, id=number)
            found = msgspec.json.decode((await other.reply(number)).body, type=EngineStats)
            answered += found.success_count == 0
        other.infer(50, b"{")
        assert (await other.reply(50)).status == 400, "it decodes while it runs"
        assert answered == 10, "all of that came before the run's end"
        # And the run's answer leaves when it is there, in its own time.
        assert (await busy.reply(1)).status == 200
        for peer in (busy, other):
            peer.writer.close()
    finally:
        engine.end()
