"""The accounting of the kill tests."""

import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import psutil
import pytest

import tollway
from benchmarks.kills.ledger import Account, Ledger, compare, logged_ids
from benchmarks.kills.trial import judge
from benchmarks.kills.victims import find, kill, wait_for
from benchmarks.spec import Latency, LoadResult
from protocol.usage import UsageRecord

EXACT = Account(acknowledged=2, logged=3, reported=3, missing=0, doubled=0)


def line(prediction: str, application: str = "bench", status: int = 200) -> bytes:
    record = UsageRecord(
        1, application, "key", "model", 1, "stable", status, 1, 1, 1, 1, 1, 1, prediction
    )
    return msgspec.json.encode(record) + b"\n"


def load(**changes: Any) -> LoadResult:
    fields: dict[str, Any] = {
        "answered": 2,
        "measured": 2,
        "seconds": 1.0,
        "requests_per_s": 2.0,
        "latency": Latency(p50_ms=1.0, p99_ms=1.0, p999_ms=1.0, max_ms=1.0, mean_ms=1.0),
        "statuses": {"200": 2},
        "verified": 2,
        "wrong": 0,
        "broken": 0,
        "unanswered": 0,
        "reconnects": 0,
        "longest_gap_ms": 5.0,
    }
    return LoadResult(**(fields | changes))


def test_the_log_is_read_without_strangers_failures_and_torn_lines(tmp_path: Path) -> None:
    (tmp_path / "1.usage").write_bytes(line("a") + line("b", "other") + line("c", status=503))
    (tmp_path / "2.usage").write_bytes(line("d") + line("d") + line("e")[:-9])
    assert logged_ids(tmp_path, "bench") == Counter({"a": 1, "d": 2})


def test_lost_and_doubled_records_are_found() -> None:
    account = compare(["a", "b"], Counter({"a": 2, "c": 1}), 3)
    assert (account.missing, account.doubled) == (1, 1)
    assert not account.exact


def test_usage_that_differs_from_the_log_is_not_exact() -> None:
    assert compare(["a"], Counter({"a": 1, "unacknowledged": 1}), 2).exact
    assert not compare(["a"], Counter({"a": 1}), 2).exact


def test_a_segment_that_is_deleted_stays_in_the_ledger(tmp_path: Path) -> None:
    data, kept = tmp_path / "data" / "gateway" / "usage", tmp_path / "kept"
    data.mkdir(parents=True)
    segment = data / "1.usage"
    segment.write_bytes(line("a"))
    with Ledger(tmp_path / "data", kept):
        with segment.open("ab") as file:
            file.write(line("b"))
        segment.unlink()
    assert logged_ids(kept, "bench") == Counter({"a": 1, "b": 1})


def test_a_client_error_fails_a_test_that_allows_none() -> None:
    assert judge("t", "e", [], EXACT, load()).passed
    failed = load(statuses={"200": 2, "503": 1}, first_failure="status 503")
    assert not judge("t", "e", [], EXACT, failed).passed
    assert judge("t", "e", [], EXACT, failed, errors_allowed=True).passed


def test_wrong_answers_and_inexact_usage_always_fail() -> None:
    inexact = msgspec.structs.replace(EXACT, missing=1)
    assert not judge("t", "e", [], inexact, load(), errors_allowed=True).passed
    assert not judge("t", "e", [], EXACT, load(wrong=1), errors_allowed=True).passed
    assert not judge("t", "e", [], EXACT, load(answered=0), errors_allowed=True).passed


def test_only_processes_below_the_root_can_be_killed() -> None:
    assert find(os.getpid(), "no such role") == []
    with pytest.raises(RuntimeError, match="no process"):
        kill(os.getpid(), "no such role")
    with pytest.raises(psutil.NoSuchProcess):
        find(2**22 + 1, "engine")


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(RuntimeError, match="the engine is back"):
        wait_for(lambda: False, 0.01, "the engine is back")


def test_the_account_waits_for_a_control_that_is_not_back_yet(tmp_path: Path) -> None:
    answers = [tollway.NotReadyError("not now"), tollway.ConnectionFailed("nobody"), 1]

    class Client:
        def usage(self, **_: object) -> list[SimpleNamespace]:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return [SimpleNamespace(application="bench", status=200, requests=answer)]

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.usage").write_bytes(line("a"))
    with Ledger(tmp_path / "data", tmp_path / "kept") as ledger:
        assert ledger.account(cast("tollway.Client", Client()), "bench", ["a"]).exact
    assert answers == []
