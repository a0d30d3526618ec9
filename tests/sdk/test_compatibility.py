"""Whether a version can take another's place, from Python and from a shell."""

import json
from collections.abc import Callable

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

import tollway
from tollway.cli import versions as commands
from tollway.cli.app import app

DIFFERENCES = ["input 'age' is BYTES, was INT64", "classes 'maybe' are new"]


def connected(differences: list[str]) -> Callable[[], tollway.Client]:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/v1/models/risk/versions/2/compatibility"
        assert dict(request.url.params) == {"following": "3"}
        found = {"model": "risk", "version": 2, "following": 3, "compatible": not differences}
        return httpx.Response(200, json=found | {"differences": differences})

    return lambda: tollway.Client("http://server", "token", transport=httpx.MockTransport(answer))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    def asked(differences: list[str], *options: str) -> Result:
        monkeypatch.setattr(commands, "Client", connected(differences))
        return CliRunner().invoke(app, ["compatibility", "risk", "2", "3", *options])

    return asked


def test_the_client_tells_each_difference() -> None:
    found = connected(DIFFERENCES)().compatibility("risk", 2, 3)
    assert (found.compatible, found.differences) == (False, tuple(DIFFERENCES))


def test_the_command_fails_with_a_line_for_each_difference(run: Callable[..., Result]) -> None:
    ended = run(DIFFERENCES)
    assert (ended.exit_code, ended.stdout.splitlines()) == (1, DIFFERENCES)
    assert json.loads(run(DIFFERENCES, "--json").stdout)["differences"] == DIFFERENCES


def test_the_command_succeeds_where_nobody_notices(run: Callable[..., Result]) -> None:
    ended = run([])
    assert (ended.exit_code, ended.stdout) == (0, "version 3 of risk can take the place of 2\n")
