"""Who acts, and how the composition root says who may. The registry checks no credential itself."""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, Protocol

import msgspec

Role = Literal["admin", "publisher", "sponsor", "consumer", "auditor"]

EVERYONE: tuple[Role, ...] = ("admin", "publisher", "sponsor", "consumer", "auditor")
"""Any authenticated user: what is readable by all."""
PUBLISHERS: tuple[Role, ...] = ("admin", "publisher")
"""Who may register versions and move traffic."""
ARTIFACT_READERS: tuple[Role, ...] = ("admin", "publisher", "auditor")
"""Who may read the bytes of a model."""

EVIDENCE_READERS: tuple[Role, ...] = ("admin", "publisher", "sponsor", "auditor")
"""Who may read how well versions did: those who make, approve and audit them."""


class Actor(msgspec.Struct, frozen=True):
    """Who makes a request: ``name`` is written to every history.

    An actor reaches an application through its consumer, a model through ownership or a grant, and
    a subscription or usage through either. What they do not reach does not exist for them.
    """

    name: str
    role: Role
    consumer: str | None = None
    """The consumer whose applications the actor reaches; None: all of them."""
    models: frozenset[str] | None = None
    """The models that the actor manages; None: all of them."""

    def reaches_application(self, consumer: str) -> bool:
        """Whether the actor may see applications of ``consumer``."""
        return self.consumer is None or self.consumer == consumer

    def manages_model(self, model: str) -> bool:
        """Whether ``model`` is the actor's own, or granted, or everything is."""
        return self.models is None or model in self.models


INSTALLATION: Final = Actor("admin", "admin")
"""Who the software itself acts as: reaches everything."""


class Require(Protocol):
    """``require(*roles)`` gives a FastAPI dependency that answers with the :class:`Actor`, or
    raises ``UNAUTHENTICATED`` or ``FORBIDDEN``."""

    def __call__(self, *roles: Role) -> Callable[..., Actor] | Callable[..., Awaitable[Actor]]:
        """The dependency for a route that ``roles`` may use."""
        ...
