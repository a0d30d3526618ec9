"""The process of an evaluation: bounds itself, and becomes the client library's command.

Started by :mod:`control.evaluations.process`; nothing imports it.
"""

import ctypes
import os
import resource
import signal
import sys

from runtime.priority import lower_session, lower_thread

_DIE_WITH_PARENT = 1
"""``PR_SET_PDEATHSIG`` of prctl(2)."""


def main() -> None:
    """``python -m control.evaluations.confined CPU_S MEMORY_BYTES ARGUMENT...``"""
    cpu_s, memory_bytes, *arguments = sys.argv[1:]
    lower_session()
    lower_thread()
    _limit(int(cpu_s), int(memory_bytes))
    if sys.platform == "linux":
        # Elsewhere an evaluation whose control is gone ends at its next word: nobody reads it.
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    python = sys.executable
    os.execv(python, [python, "-P", "-B", "-m", "tollway", *arguments])  # noqa: S606


def _limit(cpu_s: int, memory_bytes: int) -> None:
    limits = {resource.RLIMIT_CPU: cpu_s, resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    if sys.platform == "linux":  # elsewhere the kernel does not enforce it, or refuses to set it
        limits[resource.RLIMIT_AS] = memory_bytes
    for limit, value in limits.items():
        hard = resource.getrlimit(limit)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bound, bound))


if __name__ == "__main__":
    main()
