"""Signs the rows of versions as they are written. A version's row is never written without."""

from typing import Final, Protocol

from sqlalchemy.engine import Connection

from protocol.errors import Code, TollwayError
from protocol.seals import Grounds, Seal
from registry.store.database import Database

_OPTION: Final = "tollway_sealer"


class Sealing(Protocol):
    """Makes and checks seals."""

    def seal(
        self, model: str, number: int, digest: str, state: str, grounds: Grounds, encoded: str
    ) -> Seal:
        """A seal of these; ``encoded`` is ``protocol.seals.encoded_digest`` of the manifest."""
        ...

    def check(self, model: str, number: int, digest: str, state: str, seal: Seal | None) -> None:
        """Raise ``CONFLICT`` unless ``seal`` is a genuine one of these."""
        ...

    def believes(self, signer: str, signature: str, statement: bytes) -> bool:
        """Whether this server signed the statement."""
        ...


def changed_past_this_server(model: str, number: int, doubt: str) -> TollwayError:
    """``CONFLICT`` for a version whose record is not what was written here; ``doubt`` says why."""
    return TollwayError(
        Code.CONFLICT,
        f"version {number} of model {model!r} {doubt}: its record was changed past this server, "
        "and gateways do not route to it. Restore it from a backup, or register the version again",
    )


def seal_with(database: Database, sealer: Sealing) -> None:
    """From now on ``sealer`` seals the versions of this database."""
    database.engine.update_execution_options(**{_OPTION: sealer})


def sealer_of(connection: Connection) -> Sealing:
    """Who seals what is written over this connection."""
    found: Sealing = connection.get_execution_options()[_OPTION]
    return found
