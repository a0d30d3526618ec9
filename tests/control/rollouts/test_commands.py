"""Guarded canaries from the command line, against a real control."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from control.rollouts.controller import Controller
from tests.control.audited_models import two_published
from tests.control.running import Control, run
from tollway.cli import guarded as shown
from tollway.client import Client


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """What is shown does not depend on the database."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


STEPS = ("--steps", "5,50", "--step-min-requests", "10", "--step-min-seconds", "0")


async def test_a_canary_is_begun_watched_and_ended_from_the_command_line(
    control: Control,
    environment: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await two_published(control)
    assert (await control.admin.put("/api/v1/models/risk/rollout", json={"stable": 1})).is_success

    async def tollway(*arguments: str) -> str:
        capsys.readouterr()
        assert await asyncio.to_thread(run, monkeypatch, *arguments) == 0
        return capsys.readouterr().out

    async def answered(*arguments: str) -> Any:
        return json.loads(await tollway(*arguments, "--json"))

    begun = await answered("canary", "risk", "2", *STEPS, "--promote", "--alpha", "0.05")
    assert [step["percent"] for step in begun["canary"]["steps"]] == [5, 50]
    assert begun["canary"]["guard"]["alpha"] == 0.05
    services = control.services
    controller = Controller(services.database, control.clock, services.workers.status)
    await asyncio.to_thread(controller.run)
    paused = await answered("canary", "risk", "--do", "pause", "--reason", "lunch")
    assert (paused["state"], paused["percent"]) == ("paused", 5)
    text = await tollway("rollout", "risk")
    assert "version 2 beside 1: paused" in text
    assert "e-value 1 of 40" in text
    assert (await answered("canary", "risk", "--do", "resume"))["state"] == "running"
    assert (await answered("canary", "risk", "--do", "advance"))["percent"] == 50
    assert (await answered("canary", "risk", "--do", "abort"))["state"] == "aborted"
    decided = await answered("rollout", "risk", "--decisions")
    actions = [decision["action"] for decision in decided if decision["action"] != "held"]
    assert actions == ["started", "paused", "resumed", "advanced", "aborted"]
    assert "lunch" in await tollway("rollout", "risk", "--decisions")
    assert "version 2 aborted at 0 %" in await tollway("rollout", "risk", "--watch")
    again = await answered("canary", "risk", "2", "--guarded")
    assert [step["percent"] for step in again["canary"]["steps"]] == [1, 5, 25, 50, 100]


async def test_watching_tells_each_change_once_and_ends_with_the_canary(
    control: Control, environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    await two_published(control)
    for body in ({"stable": 1}, {"canary": {"version": 2, "steps": [{"percent": 5}]}}):
        assert (await control.admin.put("/api/v1/models/risk/rollout", json=body)).is_success
    services = control.services
    controller = Controller(services.database, control.clock, services.workers.status)
    await asyncio.to_thread(controller.run)
    looks = 0

    def pass_time(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            with Client() as client:
                client.abort_canary("risk", "enough")

    def watch() -> None:
        with Client() as client:
            shown.watch(client, "risk", as_json=False, sleep=pass_time)

    capsys.readouterr()
    await asyncio.to_thread(watch)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("version 2")]
    assert lines[-1].endswith("enough")
    assert 2 <= len(lines) <= 3  # the job may look meanwhile, and wait for something


@pytest.mark.parametrize(
    "arguments",
    [
        ("canary", "m"),
        ("canary", "m", "2"),
        ("canary", "m", "2", "--end"),
        ("canary", "m", "--steps", "1,5"),
        ("canary", "m", "--do", "pause", "--end"),
        ("canary", "m", "2", "--steps", "one"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLWAY_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("TOLLWAY_TOKEN", "t")
    assert run(monkeypatch, *arguments) == 2
