"""Accounting of real processes, and their end."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.processes import (
    cpu_between,
    cpu_by_role,
    free_port,
    memory_by_role,
    started,
    wait_until,
)

BURN = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
PARENT_OF_ENDED_CHILD = f"""
import subprocess, sys, time
subprocess.run([sys.executable, '-c', {BURN!r}], check=True)
print('done', flush=True)
time.sleep(60)
"""
STUBBORN_FAMILY = """
import signal, subprocess, sys, time
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
process = subprocess.Popen([sys.executable, '-c', child])
time.sleep(0.3)
print(process.pid, flush=True)
time.sleep(60)
"""
TITLED = """
import setproctitle, time
setproctitle.setproctitle('tollwayd: engine credit-risk/3#0')
print('done', flush=True)
time.sleep(60)
"""


def says(log: Path, text: str) -> bool:
    return text in log.read_text()


def test_the_cpu_time_of_children_that_ended_is_counted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started([sys.executable, "-c", PARENT_OF_ENDED_CHILD], log) as process:
        before = cpu_by_role(process.pid)
        wait_until(lambda: says(log, "done"), process=process, log=log, timeout_s=20)
        used = cpu_between(before, cpu_by_role(process.pid))
    assert sum(used.values()) > 0.25


def test_roles_are_read_from_titles(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started([sys.executable, "-c", TITLED], log) as process:
        wait_until(lambda: says(log, "done"), process=process, log=log, timeout_s=20)
        (memory,) = memory_by_role(process.pid)
    assert memory.role == "engine"
    assert memory.processes == 1
    assert memory.rss_mb > 1


def test_roles_that_came_and_went_are_in_the_difference() -> None:
    assert cpu_between({"a": 1.0, "b": 2.0}, {"b": 2.5, "c": 0.25}) == {
        "a": -1.0,
        "b": 0.5,
        "c": 0.25,
    }


def test_nothing_that_was_started_is_left_even_if_it_ignores_sigterm(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started([sys.executable, "-c", STUBBORN_FAMILY], log) as process:
        wait_until(lambda: says(log, "\n"), process=process, log=log, timeout_s=20)
        child = int(log.read_text())
    deadline = time.monotonic() + 5
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert process.returncode is not None


def test_a_process_that_ends_instead_of_getting_ready_is_reported_with_its_words(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    with (
        started([sys.executable, "-c", "import sys; sys.exit('no port')"], log) as process,
        pytest.raises(RuntimeError, match=r"(?s)has ended.*no port"),
    ):
        wait_until(lambda: False, process=process, log=log, timeout_s=20)


def test_a_free_port_is_a_port() -> None:
    assert 1024 <= free_port() <= 65535
