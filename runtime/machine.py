"""What this machine, or the container that we are in, has left to give: cores and memory."""

import math
import os
import time
from pathlib import Path
from typing import Final

PROCESSORS: Final = frozenset(
    os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
)
"""Those that this process might run on when this module was read: a process that steps aside does
so later."""
CGROUP: Final = Path("/sys/fs/cgroup")
PROC: Final = Path("/proc")
_KIB: Final = 1024
_LONGEST_NAME: Final = 100


def cores(cgroup: Path = CGROUP) -> int:
    """Cores that this process and its children may use, within its container's quota."""
    allowed = len(PROCESSORS)
    words = _text(cgroup / "cpu.max").split()
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):  # noqa: PLR2004 -- quota and period
        allowed = min(allowed, math.ceil(int(words[0]) / int(words[1])))
    return max(allowed, 1)


def available_bytes(cgroup: Path = CGROUP, proc: Path = PROC) -> int | None:
    """Memory that new processes can get without others losing theirs: the system's, within the
    container's limit. None where the system does not tell."""
    found = [
        _field(_text(proc / "meminfo"), "MemAvailable:", _KIB),
        _within_limit(cgroup),
    ]
    told = [size for size in found if size is not None]
    return min(told) if told else None


def memory_of(pid: int, proc: Path = PROC) -> int | None:
    """Memory that a process has to itself; None where the system does not tell, or it is gone."""
    text = _text(proc / str(pid) / "smaps_rollup")
    parts = [_field(text, name, _KIB) for name in ("Private_Clean:", "Private_Dirty:")]
    told = [size for size in parts if size is not None]
    return sum(told) if told else None


def occupied_ns(proc: Path = PROC) -> int:
    """Time that the calling thread has run, or has waited for a processor, so far. Where the system
    does not count the waits (sched(7), schedstats), the time that it has run."""
    counted = _text(proc / "thread-self" / "schedstat").split()
    if len(counted) == 3:  # noqa: PLR2004 -- run, waited, and how often
        return int(counted[0]) + int(counted[1])
    return time.thread_time_ns()


def processor(proc: Path = PROC) -> str:
    """The model of the processor; its architecture alone where the system does not tell."""
    for line in _text(proc / "cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()[:_LONGEST_NAME]
    return os.uname().machine


def _within_limit(cgroup: Path) -> int | None:
    limit, used = _text(cgroup / "memory.max").strip(), _text(cgroup / "memory.current").strip()
    if not limit.isdigit() or not used.isdigit():
        return None  # "max", or no control groups of the second version
    # What files are cached in is given back when somebody needs it.
    cached = _field(_text(cgroup / "memory.stat"), "inactive_file", 1) or 0
    return max(int(limit) - int(used) + cached, 0)


def _field(text: str, name: str, unit: int) -> int | None:
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name and words[1].isdigit():
            return int(words[1]) * unit
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
