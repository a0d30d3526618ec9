"""One supervised role: started, watched, restarted with back-off, stopped."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable

from runtime.logs import logger
from runtime.start import EXIT_VARIABLE, REFUSED, StartError

BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 5.0
STEADY_S = 10.0
"""A role that lived this long starts again at once."""


class Child:
    """A role's process. ``module`` has a ``main`` that blocks until it is told to stop."""

    def __init__(
        self,
        name: str,
        module: str,
        environment: Callable[[], dict[str, str]],
        descriptors: tuple[int, ...],
    ) -> None:
        self.name = name
        self._module = module
        self._environment = environment
        self._descriptors = descriptors
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return None if self._process is None else self._process.pid

    async def keep(self) -> None:
        """Run the role again and again until :meth:`stop`. Raises :class:`StartError` when the role
        says that it cannot start: trying again would not help."""
        log = logger("supervisor")
        loop = asyncio.get_running_loop()
        delay = BACKOFF_MIN_S
        while not self._stopping.is_set():
            began = loop.time()
            code = await self._run()
            if self._stopping.is_set():
                return
            if code == REFUSED:
                raise StartError(f"{self.name} cannot start, for the reason above")
            self.restarts += 1
            delay = BACKOFF_MIN_S if loop.time() - began > STEADY_S else delay
            log.error("a role ended and is started again", name=self.name, code=code, wait_s=delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(delay * 2, BACKOFF_MAX_S)

    async def _run(self) -> int | str:
        """The exit code, or why it could not be started."""
        try:
            self._process = await self._start()
        except OSError as error:  # no memory or no process number left: it may pass
            return str(error)
        return await self._process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # nothing that lies in the current folder is imported
            "-c",
            f"from {self._module} import main; main()",
            env={**self._environment(), EXIT_VARIABLE: str(REFUSED)},
            pass_fds=self._descriptors,
            stdin=asyncio.subprocess.DEVNULL,
            # A terminal's Ctrl-C is for the supervisor, which stops the roles in their order.
            start_new_session=True,
        )

    async def stop(self, within_s: float) -> None:
        """SIGTERM, and SIGKILL after ``within_s`` seconds."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), within_s)
            except TimeoutError:
                logger("supervisor").error("a role did not stop in time", name=self.name)
                process.kill()
                await process.wait()
