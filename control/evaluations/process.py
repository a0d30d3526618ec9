"""One process of an evaluation, from its start to its end."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import IO, Final

from control.evaluations.progress import Progress, timed_out, unsaid
from protocol.keys import redacted
from runtime.logs import logger

MAX_LINE: Final = 64 << 10
MAX_OUTPUT: Final = 16 << 20
"""Bytes that a process may say; it is ended beyond."""
KEPT_NOISE: Final = 5
"""Lines that are no events, for the log."""
MAX_NOISE: Final = 300


async def run_process(
    arguments: Sequence[str],
    environment: dict[str, str],
    rows: IO[bytes],
    progress: Progress,
    timeout_s: float,
) -> None:
    """Run it to its end, with ``rows`` as its input, and leave in ``progress`` what it says.

    Whatever happens, cancelling included, the process is gone when this returns. Raises
    ``OSError`` when it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=rows,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd="/",
        start_new_session=True,  # only its own priority is lowered
        limit=MAX_LINE,
    )
    noise: list[str] = []
    try:
        async with asyncio.timeout(timeout_s):
            await _listen(process, progress, noise)
            await process.wait()
    except TimeoutError:
        progress.failure = timed_out(timeout_s)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await _drain(process, progress)
        await process.wait()
    if progress.digest is None and progress.failure is None:
        progress.failure = unsaid()
        logger("evaluations").warning(
            "an evaluation's process ended without a word", code=process.returncode, said=noise
        )


async def _drain(process: asyncio.subprocess.Process, progress: Progress) -> None:
    """Follow what a process that is gone had still said, which may be that evidence is kept: its
    pipe is closed with its end."""
    assert process.stderr is not None  # it was asked for
    ended = False
    while not ended:
        try:
            line = await process.stderr.readline()
        except ValueError:  # beyond the limit: no event
            continue
        progress.follow(line)
        ended = not line


async def _listen(
    process: asyncio.subprocess.Process, progress: Progress, noise: list[str]
) -> None:
    """Follow what it says until it says no more."""
    assert process.stderr is not None  # it was asked for
    said = 0
    while True:
        try:
            line = await process.stderr.readline()
        except ValueError:  # a line beyond the limit: no event is as long
            process.kill()
            return
        said += len(line)
        if not line:
            return
        if said > MAX_OUTPUT:
            process.kill()
            return
        if not progress.follow(line):
            noise.append(redacted(line.decode(errors="replace").strip()[:MAX_NOISE]))
            del noise[:-KEPT_NOISE]
