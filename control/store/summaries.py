"""Summaries that processes tell control, each of which is counted once."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.disagreement_tables import disagreement_sources
from control.store.usage_rollups import inserting
from registry.store.database import Database

_LOCK: Final = 0x746F6C73  # an arbitrary number, the same in every control process


def lock_summaries(connection: Connection, database: Database) -> None:
    """One summary at a time, over all control processes. SQLite has one writer anyway."""
    if not database.is_sqlite:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def is_new(
    connection: Connection, database: Database, instance: str, sequence: int, hour: int
) -> bool:
    """Whether this summary of the process ``instance`` was not taken before; from now on it was.
    Under the lock, in the transaction that counts it."""
    table = disagreement_sources
    known = connection.execute(
        sa.select(table.c.sequence).where(table.c.instance == instance)
    ).scalar()
    if known is not None and known >= sequence:
        return False
    values = {"sequence": sequence, "hour": hour}
    insert = inserting(database)(table).values(instance=instance, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=[table.c.instance], set_=values))
    return True
