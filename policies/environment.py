"""Whether this gateway takes keys of the credential's environment."""

from policies.base import Call
from protocol.configuration import Environment
from protocol.errors import Code, TollwayError


class EnvironmentPolicy:
    """A production gateway may take live keys alone, and one for trials test keys alone.

    Management tokens and JSON Web Tokens belong to no environment.
    """

    def __init__(self, accepted: frozenset[Environment]) -> None:
        self._accepted = accepted

    def check(self, call: Call) -> None:
        """Raise ``FORBIDDEN`` for a key of another environment."""
        identity = call.identity
        assert identity is not None
        environment = identity.environment
        if environment is not None and environment not in self._accepted:
            raise TollwayError(
                Code.FORBIDDEN,
                f"this gateway takes no {environment} keys: use a key of environment "
                f"{' or '.join(sorted(self._accepted))}",
            )
