"""The process of an evaluation: bounded, heard, and gone when it is not wanted any more."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from control.evaluations.command import arguments, environment, library_folder
from control.evaluations.process import run_process
from control.evaluations.progress import Progress
from control.evaluations.resources import EvaluationInput
from control.settings import ControlSettings

LONG_S = 60.0


@contextmanager
def rows() -> Iterator[IO[bytes]]:
    """A file without a name."""
    with tempfile.TemporaryFile() as made:
        made.write(b"x,y\n1,2\n")
        made.seek(0)
        yield made


async def spoken(script: str, timeout_s: float = LONG_S, progress: Progress | None = None) -> None:
    """Run a script as the process."""
    with rows() as given:
        await run_process(
            [sys.executable, "-S", "-E", "-c", f"import sys, os, time; say = sys.stderr\n{script}"],
            {},
            given,
            progress if progress is not None else Progress(),
            timeout_s,
        )


async def test_it_reads_the_rows_from_its_standard_input_and_is_heard() -> None:
    progress = Progress()
    await spoken(
        """
n = len(sys.stdin.read().splitlines())
say.write('{"event": "total", "rows": %d}\\nnoise\\n' % n)
say.write('{"event": "kept", "digest": "sha256:e"}\\n')
""",
        progress=progress,
    )
    assert (progress.of_rows, progress.digest, progress.failure) == (2, "sha256:e", None)


async def test_one_that_ends_without_a_word_has_failed() -> None:
    progress = Progress()
    await spoken("os.kill(os.getpid(), 9)", progress=progress)
    assert progress.failure is not None
    assert "ended without a word" in progress.failure.detail


async def test_one_that_takes_too_long_is_ended() -> None:
    progress = Progress()
    await spoken("time.sleep(600)", timeout_s=0.05, progress=progress)
    assert progress.failure is not None
    assert "took longer than 1 minute" in progress.failure.detail


@pytest.mark.parametrize(
    "script", ["say.write('x' * 200_000)", "while True: say.write('y' * 1000 + '\\n')"]
)
async def test_one_that_says_too_much_is_ended(script: str) -> None:
    progress = Progress()
    await spoken(
        script + "; time.sleep(600)" if "while" not in script else script, LONG_S, progress
    )
    assert progress.failure is not None


async def test_cancelling_ends_the_process(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    script = f"open({str(told)!r}, 'w').write(str(os.getpid())); say.write('x\\n'); say.flush()"
    task = asyncio.create_task(spoken(script + "; time.sleep(600)"))
    while not told.exists() or not told.read_text():  # noqa: ASYNC110 -- another process's state
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


async def test_the_clients_own_command_runs_bounded_and_its_words_are_understood() -> None:
    """The one test here that starts the real command; there is no gateway for it to ask."""
    library = library_folder()
    assert library is not None
    secret = "not-a-secret"
    wish = EvaluationInput(upload="0" * 32, target="-y", segments=("--help",))
    given = arguments("m", 1, wish, ControlSettings(), size=8)
    assert all(secret not in argument for argument in given)
    progress = Progress()
    with rows() as file:
        environ = environment(ControlSettings(gateway_url="http://127.0.0.1:9"), secret, library)
        await run_process(given, environ, file, progress, LONG_S)
    assert progress.failure is not None
    assert "the gateway did not answer" in progress.failure.detail
