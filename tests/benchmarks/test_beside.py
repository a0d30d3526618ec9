"""What is deployed beside a running model, and how its p99 is judged."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.beside import Window, judge, measure, window
from benchmarks.large_models import COLUMNS, dense, forest
from benchmarks.open_loop import Reply
from tollway.conversion.runtime import Session


def at(second: float, ms: float) -> Reply:
    return Reply(200, ms / 1000, second)


def idle(p99_ms: float, what: str = "idle", failed: int = 0) -> Window:
    return Window(
        what=what, seconds=1, requests=9, failed=failed, p50_ms=1, p99_ms=p99_ms, max_ms=9
    )


def test_what_the_publisher_does_before_the_upload_is_shown_and_not_judged() -> None:
    replies = [at(1.5, 900.0), at(2.5, 3.0), at(3.5, 4.0), at(4.5, 700.0)]
    steps = [(1.0, "checking"), (2.0, "uploading 9 MB"), (3.0, "waiting"), (4.0, "done")]
    found = window("large", replies, 0, steps)
    assert (found.requests, found.max_ms) == (2, 4.0)
    assert found.steps == {"checking": 900.0, "uploading 9 MB": 3.0, "waiting": 4.0}


def test_twice_the_p99_of_idle_times_is_too_much_and_so_is_a_failed_answer() -> None:
    quiet = [idle(1.0), idle(2.0), idle(90.0)]
    assert [one.passed for one in judge([*quiet, idle(3.9, "large")])] == [True, True]
    assert [one.passed for one in judge([*quiet, idle(4.0, "large")])] == [False, True]
    assert not judge([*quiet, idle(3.0, "large", failed=1)])[-1].passed


@pytest.mark.parametrize("kind", ["dense", "forest"])
def test_the_models_run_and_every_seed_has_other_bytes(tmp_path: Path, kind: str) -> None:
    contents = set()
    for seed in range(2):
        path = tmp_path / f"{seed}.onnx"
        if kind == "dense":
            dense(path, megabytes=1, seed=seed)
            assert 0.9e6 < path.stat().st_size < 1.2e6
        else:
            forest(path, trees=20, depth=3, seed=seed)
        contents.add(path.read_bytes())
        answers = Session(path.read_bytes()).run({"input": np.ones((3, COLUMNS), np.float32)})
        assert [np.asarray(answer).shape for answer in answers.values()] == [(3, 1)]
    assert len(contents) == 2


def test_small_models_are_deployed_beside_a_running_one() -> None:
    windows = measure(rate=50, rounds=1, seconds=0.5, megabytes=1, trees=20)
    assert [one.what for one in windows] == ["idle", "1 MB", "idle", "20 trees", "idle"]
    assert all(one.requests and not one.failed for one in windows)
