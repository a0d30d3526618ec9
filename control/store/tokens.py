"""Management tokens: bearer credentials with a role, stored as hashes."""

import sqlalchemy as sa

from control.store.failures import repeated
from control.store.stream import publish_if_new
from control.store.tables import management_tokens
from protocol.configuration import KeyDoc
from registry.access import Role
from registry.clock import Clock
from registry.store.database import Database

ADMIN = "admin"
"""Id and name of the token that the first start makes."""


class Tokens:
    """Stores an installation's own tokens; ``control.store.credentials`` looks them up.

    Thread-safe; calls block.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @repeated
    def put(self, id: str, hash: str, role: Role, name: str, expires_ms: int | None = None) -> None:
        """Store the token's hash and publish it; an earlier token of this id ends."""
        table = management_tokens
        values = {"hash": hash, "role": role, "name": name, "expires_ms": expires_ms}
        expires_at = None if expires_ms is None else expires_ms // 1000
        document = KeyDoc(id=id, hash=hash, role=role, expires_at=expires_at)
        with self._database.write() as connection:
            updated = connection.execute(sa.update(table).where(table.c.id == id).values(values))
            if updated.rowcount == 0:
                row = {"id": id, "created_ms": self._clock(), **values}
                connection.execute(sa.insert(table).values(row))
            publish_if_new(connection, "key", id, document)
