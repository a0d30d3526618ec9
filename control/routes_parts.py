"""The parts of the application that answers a request, for its routes.

Routes are built once in a process and shared by all its applications: building them takes most of
a start. What differs from application to application, a route asks for by its parameters.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from control.identity.throttle import Throttle
from control.services import Services

Part = TypeVar("Part")


def part(chosen: Callable[[Services], Part]) -> Callable[[Request], Awaitable[Part]]:
    """A dependency that answers with what ``chosen`` takes from the application's parts."""

    async def found(request: Request) -> Part:  # async: it needs no thread
        services: Services = request.app.state.services
        return chosen(services)

    return found


TheThrottle = Annotated[Throttle, Depends(part(lambda services: services.throttle))]
