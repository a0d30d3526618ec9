"""A client on a server in memory, with a clock that sleeping moves."""

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import tollway
from tests.sdk.fake_server import TOKEN, FakeServer
from tests.sdk.running import Done, Run
from tollway import cli
from tollway.cli import access as access_commands
from tollway.cli import app as app_module
from tollway.cli import billing as billing_commands
from tollway.cli import consumers as consumer_commands
from tollway.cli import deploy as deploy_command
from tollway.cli import endings as ending_commands
from tollway.cli import keys as key_commands
from tollway.cli import plans as plan_commands
from tollway.cli import predict as predict_command
from tollway.cli import rollouts as rollout_commands
from tollway.cli import users as user_commands
from tollway.cli import versions as version_commands


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


@pytest.fixture
def run(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command against the server in memory."""
    monkeypatch.setenv("TOLLWAY_URL", "http://server")
    monkeypatch.setenv("TOLLWAY_TOKEN", TOKEN)
    monkeypatch.setenv("COLUMNS", "200")

    def client(url: str | None = None, token: str | None = None) -> tollway.Client:
        return tollway.Client(
            url, token, transport=httpx.MockTransport(server.handle), sleep=lambda _: None
        )

    for module in (
        access_commands, app_module, billing_commands, consumer_commands, deploy_command,
        key_commands, plan_commands, predict_command, user_commands, version_commands,
        ending_commands, rollout_commands,
    ):  # fmt: skip
        monkeypatch.setattr(module, "Client", client)

    def call(*arguments: str, stdin: str = "") -> Done:
        monkeypatch.setattr("sys.argv", ["tollway", *arguments])
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        try:
            cli.main()
            code: int | str | None = 0
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return Done(int(code or 0), captured.out, captured.err)

    return call
