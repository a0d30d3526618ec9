"""What has to know when a model gets an owner: the composition root hands it in."""

from typing import Final, Protocol

from sqlalchemy.engine import Connection


class Owners(Protocol):
    """Keeps up with who owns what, within the registry's transactions."""

    def hold(self, connection: Connection, *owners: str) -> None:
        """Lock what is known of ``owners``: called before any model of theirs changes hands."""
        ...

    def changed(self, connection: Connection, owner: str) -> None:
        """``owner`` owns more, or less, than before."""
        ...


class _NoOwners:
    def hold(self, connection: Connection, *owners: str) -> None:
        """Nothing to lock."""

    def changed(self, connection: Connection, owner: str) -> None:
        """Nothing to do."""


NO_OWNERS: Final[Owners] = _NoOwners()
"""Nobody has to know."""
