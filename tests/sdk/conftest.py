"""A client on a server in memory, with a clock that sleeping moves."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import tollway
from tests.sdk.fake_server import TOKEN, FakeServer


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the user who runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("TOLLWAY_URL", raising=False)
    monkeypatch.delenv("TOLLWAY_TOKEN", raising=False)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(server: FakeServer, clock: Clock) -> Iterator[tollway.Client]:
    with tollway.Client(
        "http://server",
        TOKEN,
        transport=httpx.MockTransport(server.handle),
        clock=clock,
        sleep=clock.sleep,
    ) as made:
        yield made
