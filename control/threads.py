"""Blocking work beside the event loop: never left behind, and in threads of its own where it must
not wait for other work, nor other work for it."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

from protocol.errors import Code, TollwayError

Result = TypeVar("Result")
HASHING_THREADS: Final = 2
MAX_WAITING: Final = 64
"""Logins that may wait for a thread; more are answered 503."""
STREAM_THREADS: Final = 2
INGEST_THREADS: Final = 2


async def in_thread(call: Callable[[], Result], limiter: CapacityLimiter) -> Result:
    """What ``call`` gives, run in a thread. A caller that is cancelled still waits for its end:
    whoever closes the database next finds no transaction open on it."""
    work = asyncio.ensure_future(anyio.to_thread.run_sync(call, limiter=limiter))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


class HashingThreads:
    """Runs what hashes passwords in few threads of its own: a storm of logins takes no thread from
    the rest of the API, and neither more memory nor more cores than these threads use."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(HASHING_THREADS)

    async def run(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns; ``UNAVAILABLE`` when too many wait already."""
        if self._limiter.statistics().tasks_waiting >= MAX_WAITING:
            raise TollwayError(
                Code.UNAVAILABLE, "too many logins at this moment; try again in a moment"
            )
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)


class Threads(NamedTuple):
    """Threads of an application that are kept apart from those of its other requests."""

    hashing: HashingThreads
    stream: CapacityLimiter
    """A revocation does not queue behind uploads and reports."""
    ingest: CapacityLimiter


def separate_threads() -> Threads:
    """The threads of one application."""
    return Threads(
        HashingThreads(), CapacityLimiter(STREAM_THREADS), CapacityLimiter(INGEST_THREADS)
    )
