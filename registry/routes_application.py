"""The registry of the application that answers a request: routes are shared by applications."""

from typing import Annotated

from fastapi import Depends, Request

from registry.service import Registry


async def _registry(request: Request) -> Registry:  # async: it needs no thread
    registry: Registry = request.app.state.registry
    return registry


TheRegistry = Annotated[Registry, Depends(_registry)]
"""``app.state.registry``, which who builds the application sets."""
