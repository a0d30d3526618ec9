"""What has to know when a model gets a sponsor, or loses one: the composition root hands it in."""

from typing import Final, Protocol

from sqlalchemy.engine import Connection


class Sponsors(Protocol):
    """Knows the users, within the registry's transactions."""

    def named(
        self, connection: Connection, model: str, user: str | None, *, actor: str, at: int
    ) -> None:
        """Let the model's sponsor see it, and those who were sponsors before no longer; None for
        no sponsor. Raises ``INVALID`` unless ``user`` is a user with the role sponsor. The caller
        holds the model's lock."""
        ...


class _AnySponsor:
    def named(
        self, connection: Connection, model: str, user: str | None, *, actor: str, at: int
    ) -> None:
        """Nobody has to know."""


ANY_SPONSOR: Final[Sponsors] = _AnySponsor()
"""Where users are not known: every name will do."""
