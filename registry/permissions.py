"""Which models and blobs an actor may see and change.

Those who manage a model (by ownership or a grant; admins and auditors all) see the whole of it.
For everybody else a model with a callable version is in the catalogue, and only its callable
versions are; any other model does not exist.
"""

from protocol.errors import Code, TollwayError
from registry.access import Actor
from registry.models import model_not_found
from registry.store import blobs as blob_store
from registry.store import models as store
from registry.store.database import Database


class Permissions:
    """Answers from the database. Thread-safe; calls block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check_manages(self, actor: Actor, model: str) -> None:
        """Raise ``FORBIDDEN`` for a model of others in the catalogue, ``MODEL_NOT_FOUND`` for any
        other that the actor does not manage."""
        if actor.manages_model(model):
            return
        if not self.in_catalogue(model):
            raise model_not_found(model)
        raise TollwayError(
            Code.FORBIDDEN,
            f"you do not manage model {model!r}: ask its owner for a grant",
        )

    def check_sees(self, actor: Actor, model: str) -> bool:
        """Whether the actor sees the whole model, or its callable versions only.

        Raises ``MODEL_NOT_FOUND`` when they see nothing of it.
        """
        if actor.manages_model(model):
            return True
        if not self.in_catalogue(model):
            raise model_not_found(model)
        return False

    def in_catalogue(self, model: str) -> bool:
        """Whether everybody may know of the model."""
        with self._database.read() as connection:
            return store.is_callable(connection, model)

    def readable_blobs(self, actor: Actor, digests: set[str]) -> set[str]:
        """Those of ``digests`` whose bytes the actor has brought, or manages a version of."""
        if actor.models is None:
            return digests
        with self._database.read() as connection:
            return blob_store.readable(connection, digests, actor.name, actor.models)

    def reads_blob(self, actor: Actor, digest: str) -> bool:
        """Whether the actor may have the blob's bytes."""
        return digest in self.readable_blobs(actor, {digest})
