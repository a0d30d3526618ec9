"""What is done at a low priority leaves the priority of the process as it was, and what answers
gets its turn soon."""

import ctypes
import os
import platform
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime import priority
from runtime.priority import (
    LOWERED,
    SHORT_TURN_NS,
    lower_session,
    lower_thread,
    lowered,
    step_aside,
    step_back,
    take_short_turns,
    thread_ids,
)

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}
ATTRIBUTES = "IIQiIQQQ"


def nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_only_the_thread_that_works_is_lowered() -> None:
    before = nice()
    lower = min(before + LOWERED, 19) if sys.platform == "linux" else before
    assert lowered(nice) == lower
    assert nice() == before


def turn_ns() -> int:
    """The time at once that the calling thread has asked for, or gets (sched_getattr(2))."""
    attributes = ctypes.create_string_buffer(struct.calcsize(ATTRIBUTES))
    number = SCHED_GETATTR[platform.machine()]
    assert ctypes.CDLL(None).syscall(number, 0, attributes, len(attributes), 0) == 0
    *_, runtime, _, _ = struct.unpack(ATTRIBUTES, attributes.raw)
    assert isinstance(runtime, int)
    return runtime


def knows_short_turns() -> bool:
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    return sys.platform == "linux" and platform.machine() in SCHED_GETATTR and release >= (6, 12)


def test_short_turns_change_nothing_else_and_hold_for_threads_that_are_started() -> None:
    def asking() -> tuple[int, int, int]:
        take_short_turns()
        with ThreadPoolExecutor(1) as started:
            inherited = started.submit(turn_ns).result() if knows_short_turns() else SHORT_TURN_NS
        return nice(), os.sched_getscheduler(0), inherited

    with ThreadPoolExecutor(1) as one:  # its thread ends with what it has asked for
        assert one.submit(asking).result() == (nice(), os.SCHED_OTHER, SHORT_TURN_NS)


def aside(processors: set[int]) -> set[int]:
    return set(sorted(processors)[-max(1, len(processors) // 4) :])


def test_what_steps_aside_leaves_processors_to_others() -> None:
    def asking() -> set[int]:
        step_aside()
        with ThreadPoolExecutor(1) as started:
            return started.submit(os.sched_getaffinity, 0).result()

    with ThreadPoolExecutor(1) as one:
        assert one.submit(asking).result() == aside(os.sched_getaffinity(0))


def test_what_has_stepped_aside_is_given_its_processors_back() -> None:
    everybodys = os.sched_getaffinity(0)
    known = thread_ids()
    with ThreadPoolExecutor(1) as one:
        one.submit(step_aside).result()
        assert one.submit(os.sched_getaffinity, 0).result() == aside(everybodys)
        step_back((), thread_ids() - known)
        step_back({max(everybodys) + 1000}, thread_ids() - known)  # there is none
        assert one.submit(os.sched_getaffinity, 0).result() == aside(everybodys)
        step_back(everybodys, thread_ids() - known)
        assert one.submit(os.sched_getaffinity, 0).result() == everybodys
        one.submit(step_aside).result()
        step_back(everybodys)
        assert one.submit(os.sched_getaffinity, 0).result() == everybodys


def test_a_thread_that_is_lowered_takes_turns_as_long_as_others() -> None:
    def asking() -> bool:
        before = turn_ns()
        take_short_turns()
        lower_thread()
        return turn_ns() == before

    with ThreadPoolExecutor(1) as one:
        assert not knows_short_turns() or one.submit(asking).result()


def test_what_the_work_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        lowered(lambda: 1 // 0)


def test_a_session_gets_its_priority_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "autogroup"
    group.write_text("/autogroup-7 nice 3\n")
    monkeypatch.setattr(priority, "AUTOGROUP", group)
    give_back = lower_session()
    assert group.read_text() == str(3 + LOWERED)
    give_back()
    assert group.read_text() == "3"


def test_in_no_group_of_sessions_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = tmp_path / "autogroup"
    group.write_text("")
    monkeypatch.setattr(priority, "AUTOGROUP", group)
    lower_session()()
    assert group.read_text() == ""


def test_without_groups_of_sessions_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(priority, "AUTOGROUP", tmp_path / "none")
    lower_session()()
    assert list(tmp_path.iterdir()) == []
