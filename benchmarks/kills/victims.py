"""Finding and killing processes: only ones below a process that this run has started."""

import contextlib
import signal
import time
from collections.abc import Callable

import psutil

from benchmarks.processes import TITLE, tree


def find(root: int, title: str) -> list[psutil.Process]:
    """Processes below ``root`` whose title starts with ``tollwayd: TITLE``, by age."""
    found = []
    for process in tree(root):
        with contextlib.suppress(psutil.NoSuchProcess):
            if " ".join(process.cmdline()).startswith(TITLE + title):
                found.append(process)
    return sorted(found, key=lambda process: (process.create_time(), process.pid))


def kill(root: int, title: str, index: int = 0) -> psutil.Process:
    """SIGKILL one of :func:`find`. Raises RuntimeError when there is none."""
    found = find(root, title)
    if len(found) <= index:
        raise RuntimeError(f"there is no process 'tollwayd: {title}' to kill")
    victim = found[index]
    victim.send_signal(signal.SIGKILL)
    return victim


def wait_for(condition: Callable[[], object], within_s: float, what: str) -> None:
    """Poll ``condition()`` until it is true. Raises RuntimeError after ``within_s``."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {within_s:g} s in vain: {what}")
        time.sleep(0.05)
