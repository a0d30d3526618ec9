"""A role is kept running, and stopped for good."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from supervisor.child import Child
from tests.gateway.conftest import until


def child(tmp_path: Path, behaviour: str) -> Child:
    environment = {
        **os.environ,
        "ROLE_LOG": str(tmp_path / "log"),
        "ROLE_BEHAVIOUR": behaviour,
    }
    return Child("role", "tests.supervisor.role", lambda: environment, ())


def starts(tmp_path: Path) -> list[int]:
    log = tmp_path / "log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


async def test_role_that_is_killed_is_started_again(tmp_path: Path) -> None:
    role = child(tmp_path, "wait")
    keeper = asyncio.create_task(role.keep())
    await until(lambda: len(starts(tmp_path)) == 1, 10)
    os.kill(starts(tmp_path)[0], signal.SIGKILL)
    await until(lambda: len(starts(tmp_path)) == 2, 10)
    assert role.restarts == 1
    await role.stop(5)
    await keeper


async def test_role_that_fails_at_start_is_retried_with_growing_pauses(tmp_path: Path) -> None:
    role = child(tmp_path, "fail")
    keeper = asyncio.create_task(role.keep())
    await until(lambda: len(starts(tmp_path)) >= 3, 20)
    await role.stop(5)
    await asyncio.wait_for(keeper, 10)
    assert role.restarts >= 2


@pytest.mark.parametrize("behaviour", ["wait", "stubborn"])
async def test_stop_ends_the_process_whatever_it_does(tmp_path: Path, behaviour: str) -> None:
    role = child(tmp_path, behaviour)
    keeper = asyncio.create_task(role.keep())
    await until(lambda: len(starts(tmp_path)) == 1, 10)
    await role.stop(0.5)
    await asyncio.wait_for(keeper, 5)
    with pytest.raises(ProcessLookupError):
        os.kill(starts(tmp_path)[0], 0)
