"""Bounds that a short-lived process sets for itself before it touches what users have sent."""

import resource
import sys


def bound_process(cpu_s: int, memory_bytes: int) -> None:
    """Let the calling process have so much CPU time and, on Linux, so much address space; it writes
    no file and leaves no core. Limits that are lower already stay."""
    limits = {resource.RLIMIT_CPU: cpu_s, resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    if sys.platform == "linux":  # elsewhere the kernel does not enforce it, or refuses to set it
        limits[resource.RLIMIT_AS] = memory_bytes
    for limit, value in limits.items():
        hard = resource.getrlimit(limit)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bound, bound))
