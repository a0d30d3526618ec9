"""What is done at a low priority leaves the priority of the process as it was."""

import os
import sys
import threading
from pathlib import Path

import pytest

from runtime import priority
from runtime.priority import LOWERED, lower_session, lowered


def nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_only_the_thread_that_works_is_lowered() -> None:
    before = nice()
    lower = min(before + LOWERED, 19) if sys.platform == "linux" else before
    assert lowered(nice) == lower
    assert nice() == before


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
