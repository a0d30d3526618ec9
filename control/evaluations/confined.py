"""The process of an evaluation: bounds itself, and becomes the client library's command.

Started by :mod:`control.evaluations.process`; nothing imports it.
"""

import ctypes
import os
import signal
import sys

from runtime.confinement import bound_process
from runtime.priority import lower_session, lower_thread

_DIE_WITH_PARENT = 1
"""``PR_SET_PDEATHSIG`` of prctl(2)."""


def main() -> None:
    """``python -m control.evaluations.confined CPU_S MEMORY_BYTES ARGUMENT...``"""
    cpu_s, memory_bytes, *arguments = sys.argv[1:]
    lower_session()
    lower_thread()
    bound_process(int(cpu_s), int(memory_bytes))
    if sys.platform == "linux":
        # Elsewhere an evaluation whose control is gone ends at its next word: nobody reads it.
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    python = sys.executable
    os.execv(python, [python, "-P", "-B", "-m", "tollway", *arguments])  # noqa: S606


if __name__ == "__main__":
    main()
