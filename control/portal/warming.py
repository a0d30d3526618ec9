"""Compiling the templates before anybody asks for a page."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import anyio.to_thread
from anyio import CapacityLimiter
from jinja2 import Environment

START_AFTER_S: Final = 5.0
"""After control has begun: what makes it ready comes first."""
_SHOWN_FIRST: Final = ("parts/", "base.html", "catalogue/", "entrance/")
"""Beginnings of names: what most visitors ask for before anything else."""


async def compile_templates(
    environment: Environment, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Compile every template of ``environment``, one at a time in a thread of its own.

    Compiled where it is first asked for, each would hold up the event loop, and so every request,
    for as long as it takes. As long as one took, the next waits: half of the time is others'.
    Raises jinja2's ``TemplateError`` for one that is wrong.
    """
    thread = CapacityLimiter(1)  # none of those that answer requests
    await pause(START_AFTER_S)
    for name in sorted(environment.list_templates(extensions=["html"]), key=_order):
        begun = time.monotonic()
        await anyio.to_thread.run_sync(environment.get_template, name, limiter=thread)
        await pause(time.monotonic() - begun)


def _order(name: str) -> tuple[bool, str]:
    return not name.startswith(_SHOWN_FIRST), name
