"""One process of the system: its title, its signals, its parent's death."""

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Coroutine

import setproctitle
import uvloop

PARENT_PIPE = "TOLLWAY_PARENT_PIPE"
"""Environment variable: number of a file descriptor that reaches end of file when the parent dies.
A pipe works on Linux and macOS alike, and cannot be missed as a signal can."""


def set_title(role: str) -> None:
    """Show ``tollwayd: ROLE`` in the process list."""
    setproctitle.setproctitle(f"tollwayd: {role}")


def run(main: Callable[[asyncio.Event], Coroutine[object, object, None]]) -> None:
    """Run ``main(stop)`` on uvloop; ``stop`` is set by SIGTERM, SIGINT and the parent's death."""

    async def guarded() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        watch_parent(loop, stop.set)
        await main(stop)

    try:
        uvloop.run(guarded())
    finally:
        # The process ends now, and the system takes its memory back at once. The interpreter would
        # look through all of it for garbage first: most of a second of control's time to stop.
        gc.freeze()


def watch_parent(loop: asyncio.AbstractEventLoop, gone: Callable[[], None]) -> None:
    """Call ``gone`` once when the parent that gave us ``PARENT_PIPE`` has died."""
    inherited = os.environ.pop(PARENT_PIPE, None)
    if inherited is None:
        return
    descriptor = int(inherited)
    os.set_blocking(descriptor, False)

    def readable() -> None:
        if os.read(descriptor, 1) == b"":
            loop.remove_reader(descriptor)
            os.close(descriptor)
            gone()

    loop.add_reader(descriptor, readable)


class Lifeline:
    """The parent's end of ``PARENT_PIPE``: children that inherit it end when this process does."""

    def __init__(self) -> None:
        self.child_end, self._own_end = os.pipe()

    def environment(self) -> dict[str, str]:
        """What to add to a child's environment; pass ``child_end`` in its ``pass_fds`` too."""
        return {PARENT_PIPE: str(self.child_end)}

    def close(self) -> None:
        """Let go: children take it as this process's death."""
        os.close(self._own_end)
        os.close(self.child_end)
