"""Threads of a session: one, unless more are clearly quicker."""

from pathlib import Path

import msgspec
import pytest

from protocol.frames import EngineStats, Kind
from serving.threads import LARGE_S, MARGIN, chosen
from tests.serving import models
from tests.serving.peer import Peer, Started


class Model:
    """Takes so long on so many threads, on a clock of its own."""

    def __init__(self, seconds: dict[int, float | None]) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.loaded: list[int] = []
        self.alive = 0
        self.most_alive = 0

    def load(self, threads: int) -> "Session":
        self.loaded.append(threads)
        return Session(self, threads)

    def choose(self, fixed: int = 0, cores: int = 4) -> tuple[int, str]:
        session, threads, why = chosen(self.load, fixed, cores, lambda: self.now)
        assert session.threads == threads
        return threads, why


class Session:
    def __init__(self, model: Model, threads: int) -> None:
        self.model = model
        self.threads = threads
        model.alive += 1
        model.most_alive = max(model.most_alive, model.alive)

    def __del__(self) -> None:
        self.model.alive -= 1

    def once(self) -> bool:
        seconds = self.model.seconds[self.threads]
        self.model.now += seconds or 0.0
        return seconds is not None


def test_a_quick_model_has_one_thread_and_is_loaded_once() -> None:
    model = Model({1: LARGE_S / 2})
    assert model.choose() == (1, "a run takes 2 ms: too short to gain by more")
    assert model.loaded == [1]


def test_a_large_model_that_gains_has_every_core() -> None:
    model = Model({1: 0.1, 4: 0.03})
    assert model.choose() == (4, "a run takes 30 ms on 4, 100 ms on 1")
    assert model.loaded == [1, 4]
    assert model.most_alive == 1, "memory for one, never for two"


@pytest.mark.parametrize("together", [0.1 / MARGIN + 0.001, 0.3, None])
def test_a_large_model_that_gains_little_stays_on_one(together: float | None) -> None:
    model = Model({1: 0.1, 4: together})
    assert model.choose()[0] == 1
    assert model.loaded == [1, 4, 1]
    assert model.most_alive == 1


def test_a_setting_decides_without_trying() -> None:
    model = Model({3: 0.1})
    assert model.choose(fixed=3) == (3, "set by TOLLWAY_ENGINE_THREADS")
    assert model.now == 0


def test_one_core_or_rows_that_do_not_run_mean_one_thread() -> None:
    assert Model({1: 0.1}).choose(cores=1) == (1, "there is one core")
    assert Model({1: None}).choose()[0] == 1


async def stats(engine: Started) -> EngineStats:
    peer, _ = await Peer.connect(engine.order.address)
    peer.send(Kind.STATS, id=1)
    found = msgspec.json.decode((await peer.reply(1)).body, type=EngineStats)
    peer.writer.close()
    return found


async def test_an_engine_says_how_many_threads_it_has_and_why(tmp_path: Path) -> None:
    engine = Started(models.identity(), tmp_path, threads=0, cores=2)
    try:
        assert engine.word.threads == 1
        found = await stats(engine)
        assert found.threads == 1
        assert "too short to gain" in found.threads_reason
    finally:
        engine.end()


async def test_a_set_number_of_threads_is_what_the_engine_has(tmp_path: Path) -> None:
    engine = Started(models.identity(), tmp_path, threads=2)
    try:
        assert engine.word.threads == 2
        assert (await stats(engine)).threads_reason == "set by TOLLWAY_ENGINE_THREADS"
    finally:
        engine.end()
