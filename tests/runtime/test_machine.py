"""Cores and memory, as the system and a container tell them."""

import time
from pathlib import Path

from runtime.machine import available_bytes, cores, memory_of, occupied_ns

MIB = 1 << 20


def files(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_a_containers_quota_bounds_the_cores(tmp_path: Path) -> None:
    own = cores(tmp_path / "none")
    assert own >= 1
    assert cores(files(tmp_path, cpu__max="50000 100000\n")) == 1
    assert cores(files(tmp_path, cpu__max="150000 100000\n")) == min(2, own)
    assert cores(files(tmp_path, cpu__max="max 100000\n")) == own


def test_a_thread_is_occupied_while_it_runs_and_while_it_waits_to(tmp_path: Path) -> None:
    before = occupied_ns()
    until = time.thread_time_ns() + 20_000_000  # the system counts by ticks of up to 10 ms
    while time.thread_time_ns() < until:
        pass
    assert occupied_ns() > before
    (tmp_path / "thread-self").mkdir()
    files(tmp_path / "thread-self", schedstat="700 50 3\n")
    assert occupied_ns(tmp_path) == 750


def test_a_system_that_counts_no_waits_tells_what_a_thread_has_run(tmp_path: Path) -> None:
    before = time.thread_time_ns()
    assert before <= occupied_ns(tmp_path) <= time.thread_time_ns()


def test_memory_is_what_the_system_has_and_the_container_allows(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    proc.mkdir()
    files(proc, meminfo="MemTotal: 9000 kB\nMemAvailable:    4096 kB\n")
    assert available_bytes(tmp_path, proc) == 4 * MIB
    files(tmp_path, memory__max=f"{10 * MIB}\n", memory__current=f"{9 * MIB}\n")
    assert available_bytes(tmp_path, proc) == MIB
    files(tmp_path, memory__stat=f"anon 1\ninactive_file {2 * MIB}\n")
    assert available_bytes(tmp_path, proc) == 3 * MIB, "cached files are given back"
    files(tmp_path, memory__max="max\n")
    assert available_bytes(tmp_path, proc) == 4 * MIB


def test_what_the_system_does_not_tell_is_not_made_up(tmp_path: Path) -> None:
    assert available_bytes(tmp_path, tmp_path) is None
    assert memory_of(1, tmp_path) is None


def test_a_processs_own_memory_is_what_it_shares_with_nobody(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    rollup = "55 ---p 0 [rollup]\nRss: 900 kB\nPrivate_Clean: 24 kB\nPrivate_Dirty: 1000 kB\n"
    (tmp_path / "7" / "smaps_rollup").write_text(rollup)
    assert memory_of(7, tmp_path) == MIB
