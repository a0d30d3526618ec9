"""What the command says while it runs becomes steps, rows, and an end in plain words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.evaluations.progress import FIRST_STEP, MAX_DETAIL, MAX_STEPS, Progress


def line(event: str, **fields: object) -> bytes:
    """As the command writes it."""
    return json.dumps({"event": event, **fields}).encode() + b"\n"


def test_steps_follow_one_another_and_rows_belong_to_the_present_one() -> None:
    progress = Progress()
    assert progress.step == FIRST_STEP
    for said in (line("step", message="scoring 10 rows"), line("total", rows=10)):
        assert progress.follow(said)
    assert (progress.rows, progress.of_rows) == (0, 10)
    progress.follow(line("done", rows=5))
    assert (progress.done, progress.rows) == ([FIRST_STEP], 5)
    progress.follow(line("step", message="measuring"))
    assert (progress.step, progress.rows, progress.of_rows) == ("measuring", None, None)
    progress.follow(line("kept", digest="sha256:e"))
    assert progress.digest == "sha256:e"
    assert progress.failure is None


def test_a_failure_is_about_what_it_names_and_holds_no_secret() -> None:
    progress = Progress()
    key = "tw_live_" + "a" * 30
    said = line("error", kind="InvalidRequestError", message=f"line 3: {key}", about="rows")
    progress.follow(said)
    assert progress.failure is not None
    assert progress.failure.about == "rows"
    assert progress.failure.detail.startswith("line 3: ")
    assert key not in progress.failure.detail


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("AuthenticationError", "log in"),
        ("ConnectionFailed", "the gateway did not answer"),
        ("MemoryError", "more memory"),
        ("TimedOut", "did not answer in time"),
        ("NotReadyError", "its own words"),
    ],
)
def test_an_error_is_told_in_the_words_of_who_evaluates_here(kind: str, words: str) -> None:
    progress = Progress()
    progress.follow(line("error", kind=kind, message="its own words", about="nonsense"))
    assert progress.failure is not None
    assert words in progress.failure.detail
    assert progress.failure.about == ""


@given(st.lists(st.binary(max_size=200) | st.from_type(str).map(str.encode), max_size=20))
def test_whatever_is_said_nothing_breaks_and_nothing_grows(lines: list[bytes]) -> None:
    progress = Progress()
    for said in lines:
        progress.follow(said)
        progress.follow(line("step", message=said.decode(errors="replace") * 10))
    for _ in range(2 * MAX_STEPS):
        progress.follow(line("step", message="x" * 10_000))
    progress.follow(line("error", message="y" * 10_000))
    assert len(progress.done) <= MAX_STEPS
    assert all(len(step) <= MAX_DETAIL for step in progress.done)
    assert progress.failure is not None
    assert len(progress.failure.detail) <= MAX_DETAIL
