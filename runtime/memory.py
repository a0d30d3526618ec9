"""How the C library keeps memory for large bodies, and Python what it keeps for good."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
REUSED_BYTES = 16 << 20
"""Blocks up to this size come from the heap and are used again."""
KEPT_BYTES = 32 << 20
"""Free memory that stays with the process at the top of its heap."""


def reuse_large_blocks() -> None:
    """Keep freed blocks of request size instead of returning each to the system.

    glibc maps every block over 128 kB anew: the page faults of a 1 MB body then cost three times as
    much as moving its bytes. Other C libraries are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, REUSED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


@contextmanager
def building_for_good() -> Iterator[None]:
    """Around code that builds many objects that stay.

    Python's cyclic collector does not run meanwhile, and never looks at them again: walking a
    configuration of a million objects takes a good second, in the middle of somebody's request.
    They are freed all the same when nothing refers to them, unless they refer to one another.
    """
    if not gc.isenabled():
        yield
        return
    gc.collect()  # what is garbage already must not be kept for good
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
