"""Management tokens: bearer credentials with a role, stored as hashes."""

from collections.abc import Mapping

import sqlalchemy as sa

from control.store.failures import repeated
from control.store.stream import publish_if_new
from control.store.tables import management_tokens
from protocol.configuration import KeyDoc
from registry.access import Role
from registry.clock import Clock
from registry.store import audit
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
        now = self._clock()
        with self._database.write() as connection:
            query = sa.select(table).where(table.c.id == id).with_for_update(key_share=True)
            found = connection.execute(query).first()
            if found is None:
                connection.execute(sa.insert(table).values(id=id, created_ms=now, **values))
            else:
                connection.execute(sa.update(table).where(table.c.id == id).values(values))
            publish_if_new(connection, "key", id, document)
            earlier = None if found is None else found._asdict()
            if earlier is None or any(earlier[name] != value for name, value in values.items()):
                audit.record(
                    connection,
                    "token.created" if earlier is None else "token.changed",
                    "token",
                    id,
                    at_ms=now,
                    before=None if earlier is None else _shown(earlier, hash),
                    after=_shown(values, hash),
                )


def _shown(row: Mapping[str, object], hash: str) -> dict[str, object]:
    """What the audit log says of a token: nothing of its secret, only whether it is the new one."""
    return {
        "name": row["name"],
        "role": row["role"],
        "expires_ms": row["expires_ms"],
        "secret": "present" if row["hash"] == hash else "replaced",
    }
