"""Who acts, and how the composition root says who may. The registry checks no credential itself."""

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import msgspec

Role = Literal["admin", "publisher", "sponsor", "consumer", "auditor"]

EVERYONE: tuple[Role, ...] = ("admin", "publisher", "sponsor", "consumer", "auditor")
"""Any authenticated user: what is readable by all."""
PUBLISHERS: tuple[Role, ...] = ("admin", "publisher")
"""Who may register versions and move traffic."""
ARTIFACT_READERS: tuple[Role, ...] = ("admin", "publisher", "auditor")
"""Who may read the bytes of a model."""


class Actor(msgspec.Struct, frozen=True):
    """Who makes a request: ``name`` is written to every history."""

    name: str
    role: Role


class Require(Protocol):
    """``require(*roles)`` gives a FastAPI dependency that answers with the :class:`Actor`, or
    raises ``UNAUTHENTICATED`` or ``FORBIDDEN``."""

    def __call__(self, *roles: Role) -> Callable[..., Actor] | Callable[..., Awaitable[Actor]]:
        """The dependency for a route that ``roles`` may use."""
        ...
