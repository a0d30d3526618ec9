"""Work that must not hold up requests: it runs in threads to which the scheduler gives less.

Linux keeps a priority for each thread, and one that lowered its own needs a privilege to raise it
again. So such work gets a thread that ends with it, and what that thread starts inherits its
priority. Elsewhere a priority is a process's, and nothing is changed.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

LOWERED: Final = 7
"""Added to the nice value: a busy processor gives such a thread a fifth of what it gives others, so
that its work is done in good time on a machine that is always busy."""

LOWEST: Final = 19
AUTOGROUP: Final = Path("/proc/self/autogroup")
GIVE_BACK_S: Final = 0.03
GIVE_BACK_TRIES: Final = 200

Done = TypeVar("Done")


def lower_thread() -> None:
    """Lower the calling thread's priority, for as long as it lives."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        present = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(present + LOWERED, LOWEST))


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
