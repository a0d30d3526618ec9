"""What stands for other machines: it takes nothing from what is measured, nor waits for it."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator

from runtime.priority import LOWEST, lower_session, take_short_turns

_FIRST = 1
"""Priority among those of SCHED_RR, of which there are no others here."""


def stand_in() -> None:
    """Give the calling process what nobody else wants.

    Where Linux places what wakes up, a processor counts as free whose work is of SCHED_IDLE; with
    the lowest nice value it counts as busy, and all of a server's processes would share the others.
    """
    os.setsid()
    lower_session(LOWEST)
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(LOWEST)


@contextlib.contextmanager
def undelayed() -> Iterator[None]:
    """Let the calling thread run when it wakes, and not collect garbage: what it waits counts as
    the server's time. Where that needs a privilege which is not there, it waits a little."""
    usual = None
    if sys.platform == "linux":
        usual = os.sched_getscheduler(0), os.sched_getparam(0)
        with contextlib.suppress(PermissionError):
            first = os.SCHED_RR | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, first, os.sched_param(_FIRST))
    take_short_turns()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if usual is not None:
            # Who may not go first by right may not undo what happens to children either.
            os.sched_setscheduler(0, usual[0] | os.SCHED_RESET_ON_FORK, usual[1])
