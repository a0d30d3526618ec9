"""Blocking work beside the event loop that is never left behind."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

Result = TypeVar("Result")


async def in_thread(call: Callable[[], Result], limiter: CapacityLimiter) -> Result:
    """What ``call`` gives, run in a thread. A caller that is cancelled still waits for its end:
    whoever closes the database next finds no transaction open on it."""
    work = asyncio.ensure_future(anyio.to_thread.run_sync(call, limiter=limiter))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
