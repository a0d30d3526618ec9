"""Wakes long polls of the change stream: at once for this process's commits, and by a look at the
database for those of other control processes, taken only while somebody waits."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from runtime.logs import logger


class ChangeNotifier:
    """Waiting for the change log to grow. All methods but :meth:`committed` belong to the loop."""

    def __init__(self, read_head: Callable[[], Awaitable[int]], poll_s: float) -> None:
        """``read_head`` answers with the number of the newest change."""
        self._read_head = read_head
        self._poll_s = poll_s
        self._head = -1
        self._waiting = 0
        self._closed = False
        self._grown = asyncio.Event()
        self._look = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin; call it in the running loop."""
        self._loop = asyncio.get_running_loop()

    def committed(self) -> None:
        """A transaction of this process has committed. Thread-safe."""
        loop = self._loop
        if loop is not None and not self._closed:
            # The loop may close between the two: then nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._look.set)

    async def wait(self, after: int, timeout_s: float) -> None:
        """Return once there is a change after ``after``, the time is over, or this is closed."""
        if self._closed:
            return
        self._waiting += 1
        if self._task is None:
            self._look.set()
            self._task = asyncio.create_task(self._watch(), name="change-notifier")
        try:
            async with asyncio.timeout(timeout_s):
                # A head below `after` means another database: the reader has to be told as well.
                while not self._closed and self._head in (-1, after):
                    await self._grown.wait()
        except TimeoutError:
            return
        finally:
            self._waiting -= 1
            self._look.set()

    def close(self) -> None:
        """Answer everybody who waits, and let nobody wait any more."""
        self._closed = True
        self._wake()
        self._look.set()

    async def closed(self) -> None:
        """Close, and return once the database is not being asked any more."""
        self.close()
        if self._task is not None:
            await self._task

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def _watch(self) -> None:
        try:
            while self._waiting and not self._closed:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await self._look.wait()
                self._look.clear()
                try:
                    head = await self._read_head()
                except Exception as error:
                    logger("notifier").error("the change log cannot be read", error=repr(error))
                    await asyncio.sleep(self._poll_s)
                    continue
                if head != self._head:
                    self._head = head
                    self._wake()
        finally:
            # Without a watcher the number may be old: the next one to wait looks first.
            self._head = -1
            self._task = None
            self._wake()
