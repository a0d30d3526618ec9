"""Processes that stand for another machine, and so may take nothing from what is measured."""

import os
import sys

from runtime.priority import LOWEST, lower_session


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
