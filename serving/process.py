"""An engine's operating system process, as its agent holds it."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from runtime.process import Lifeline
from serving.launch import EngineChange, EngineNews, EngineOrder, EngineWord

KILL_AFTER_S: Final = 1.0
"""Beyond the time to drain, before an engine that does not end is killed."""


class EngineProcess:
    """A started engine."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def word(self) -> EngineWord | None:
        """What it says after loading; None when it died first."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):
            return None
        return msgspec.json.decode(line, type=EngineWord)

    async def news(self) -> EngineNews | None:
        """What it says next; None when it says nothing any more. Raises ``ValueError`` for what
        are no news."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        return msgspec.json.decode(line, type=EngineNews) if line.endswith(b"\n") else None

    def tell(self, change: EngineChange) -> None:
        """Say what has changed. The engine hears it as soon as it serves; one that is ending, or
        has ended, does not."""
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(msgspec.json.encode(change) + b"\n")

    async def wait(self) -> int:
        """Wait until it has ended. Returns its exit code, negative for a signal."""
        return await self._process.wait()

    async def stop(self, drain_s: float) -> int:
        """SIGTERM, time to drain, then SIGKILL. Returns its exit code when it is gone."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), drain_s + KILL_AFTER_S)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
        return await self._process.wait()


StartEngine = Callable[[EngineOrder], Awaitable[EngineProcess]]


def starter(lifeline: Lifeline) -> StartEngine:
    """Starts engines that end when this process does."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("TOLLWAY_")},
        **lifeline.environment(),
        # One numpy call never needs a pool of threads, and each pool costs memory.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }

    async def start(order: EngineOrder) -> EngineProcess:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # nothing that lies in the current folder is imported
            "-m",
            "serving.start",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            pass_fds=(lifeline.child_end,),
            start_new_session=True,  # a Ctrl-C in the terminal is the agent's to handle
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        with contextlib.suppress(ConnectionError):  # it died at once: its word says so
            await process.stdin.drain()
        return EngineProcess(process)

    return start
