"""What a deployment shows while it runs."""

import sys

import pytest

from tollway.bar import Bar
from tollway.progress import Lines, reporter


def test_a_function_gets_one_line_per_step_and_no_bytes() -> None:
    seen: list[str] = []
    with reporter(seen.append) as show:
        show.step("one")
        show.uploading(10)
        show.uploaded(5)
        show.step("two")
    assert seen == ["one", "two"]


def test_without_a_terminal_there_is_silence_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert isinstance(reporter(None), Lines)
    assert isinstance(reporter(False), Lines)
    assert isinstance(reporter(True), Bar)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert isinstance(reporter(None), Bar)


def test_the_bar_goes_to_stderr_and_reads_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as show:
        show.step("[red]converting[/nonsense]")
        show.step("uploading 1 kB")
        show.uploading(1000)
        show.uploaded(1000)
        show.step("done")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "[red]converting[/nonsense]" in captured.err
    assert "1.0/1.0 kB" in captured.err


def test_the_bar_leaves_out_the_step_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with Bar() as show:
            show.step("first")
            show.step("second")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    shown = capsys.readouterr().err
    assert "first" in shown
    assert "second" not in shown
