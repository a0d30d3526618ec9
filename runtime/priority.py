"""Who comes first on a busy machine: what answers requests, before all other work.

Threads that answer ask for short turns, so that they get one soon after they wake. Processes that
answer nothing keep to few of the processors. Work that must not hold up requests runs in threads to
which the scheduler gives less.
Linux keeps a priority for each thread, and one that lowered its own needs a privilege to raise it
again. So such work gets a thread that ends with it, and what that thread starts inherits its
priority. Elsewhere a priority is a process's, and nothing is changed.
"""

import contextlib
import ctypes
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

LOWERED: Final = 7
"""Added to the nice value: a busy processor gives such a thread a fifth of what it gives others, so
that its work is done in good time on a machine that is always busy."""

SHORT_TURN_NS: Final = 100_000
"""The shortest that Linux grants; where a thread asks for nothing, a turn takes 1.4 ms or more."""
LOWEST: Final = 19
SHARED_OUT: Final = 4
"""Work that must not hold up requests gets one of so many processors."""

THREADS: Final = Path("/proc/self/task")
AUTOGROUP: Final = Path("/proc/self/autogroup")
GIVE_BACK_S: Final = 0.03
GIVE_BACK_TRIES: Final = 200

_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
"""Number of the system call by machine: the C library has had a function for it since 2.41 only."""

Done = TypeVar("Done")


def take_short_turns(nanoseconds: int = SHORT_TURN_NS) -> None:
    """Have the calling thread, and those that it starts, run soon after they wake.

    Linux (EEVDF, from 6.12 on) lets a thread name the time it wants at once: one that asks for less
    comes before those that ask for more, and gets no more in the end. Elsewhere, and under another
    policy than the usual one, nothing changes.
    """
    if sys.platform != "linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return  # the operator has chosen another policy
    call = _SCHED_SETATTR.get(platform.machine())
    if call is None:
        return
    nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    wanted = _SchedAttr(size=ctypes.sizeof(_SchedAttr), nice=nice, runtime=nanoseconds)
    # A kernel that does not know the call refuses it, and an older one ignores the time.
    ctypes.CDLL(None).syscall(call, 0, ctypes.byref(wanted), 0)


class _SchedAttr(ctypes.Structure):
    """``struct sched_attr`` of sched_setattr(2), in its first version. Policy 0: SCHED_OTHER."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def step_aside() -> None:
    """Keep the calling thread, and all that it starts, to the last quarter of the processors that
    it may use, at least to one: a processor on which it runs counts as busy, whatever its priority,
    and who wakes there waits though another may be free. Where the system refuses, nothing changes.
    """
    if sys.platform == "linux":
        processors = sorted(os.sched_getaffinity(0))
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, processors[-max(1, len(processors) // SHARED_OUT) :])


def step_back(processors: Iterable[int], among: Iterable[int] | None = None) -> None:
    """Give threads of this process, all unless they are named, these processors to run on. Without
    processors, or where the system refuses, nothing changes."""
    wanted = set(processors)
    if sys.platform != "linux" or not wanted:
        return
    for thread in thread_ids() if among is None else among:
        with contextlib.suppress(OSError):  # it has ended; or the system gives none of these
            os.sched_setaffinity(thread, wanted)


def thread_ids() -> set[int]:
    """The system's numbers of this process's threads; none where it does not tell."""
    return {int(task.name) for task in THREADS.iterdir()} if THREADS.exists() else set()


def lower_thread() -> None:
    """Lower the calling thread's priority, for as long as it lives."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        present = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(present + LOWERED, LOWEST))
        take_short_turns(0)  # turns as long as everybody's


def lowered_threads(most: int, name: str) -> ThreadPoolExecutor:
    """A pool of at most ``most`` threads of low priority."""
    return ThreadPoolExecutor(most, name, initializer=lower_thread)


def lowered(work: Callable[[], Done]) -> Done:
    """Do ``work`` in a thread of low priority, and wait for it. Raises what it raises."""
    with lowered_threads(1, "low") as pool:
        return pool.submit(work).result()


def lower_session(by: int = LOWERED) -> Callable[[], None]:
    """Lower the priority of the calling process's session; what is returned gives it back.

    Where Linux groups tasks by session (sched(7), autogroup), what threads are worth counts only
    beside others of the same session. A session's own value needs no privilege in either direction,
    but the kernel takes one change in a tenth of a second from all who have none.
    """
    try:
        present = int(AUTOGROUP.read_text().rpartition("nice")[2])
        AUTOGROUP.write_text(str(max(0, min(present + by, LOWEST))))
    except (OSError, ValueError):
        return lambda: None  # no such groups (some kernels show an empty file), or not now

    def give_back() -> None:
        for _ in range(GIVE_BACK_TRIES):
            try:
                AUTOGROUP.write_text(str(present))
            except BlockingIOError:  # somebody else's change came just before
                time.sleep(GIVE_BACK_S)
            else:
                return

    return give_back
