"""Management tokens: bearer credentials with a role, stored as hashes."""

import sqlalchemy as sa

from control.store.failures import repeated
from control.store.stream import publish_if_new
from control.store.tables import management_tokens
from protocol.configuration import KeyDoc
from registry.access import EVERYONE, Actor, Role
from registry.clock import Clock
from registry.store.database import Database

ADMIN = "admin"
"""Id and name of the token that the first start makes."""


class Tokens:
    """Looks up and stores tokens. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def find(self, hash: str) -> Actor | None:
        """Whose token has this hash; None when nobody's has, or it has expired."""
        table = management_tokens.c
        query = sa.select(table.name, table.role, table.expires_ms).where(table.hash == hash)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None or (row.expires_ms is not None and row.expires_ms <= self._clock()):
            return None
        role = _role(row.role)
        return None if role is None else Actor(row.name, role)

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


def _role(name: str) -> Role | None:
    """The role of this name; None for one that this version does not know: it may do nothing."""
    return next((role for role in EVERYONE if role == name), None)
