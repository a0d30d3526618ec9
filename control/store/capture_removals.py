"""Removals of payload: what was on its way meanwhile is not kept when it comes, however late."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.capture_tables import capture_removals
from control.store.usage_rollups import inserting
from registry.store.database import Database

EVERYBODY: Final = "*"
"""No application's name."""
KEPT_MS: Final = 366 * 24 * 3_600_000
"""No payload is kept for longer: what is from before goes by its age."""
_removal: Final = capture_removals.c


class Removals:
    """Until when a model's payload was removed."""

    def __init__(self, until: dict[str, int]) -> None:
        """Application, or :data:`EVERYBODY`, -> UNIX milliseconds."""
        self._until = until
        self._of_all = until.get(EVERYBODY, -1)

    def covers(self, application: str, at_ms: int) -> bool:
        """Whether payload of that moment was removed."""
        return at_ms <= max(self._of_all, self._until.get(application, -1))


def record_removal(
    connection: Connection, database: Database, model: str, application: str | None, at_ms: int
) -> None:
    """Let nothing come back that is not younger than ``at_ms``; None: of whatever application."""
    insert = inserting(database)(capture_removals).values(
        model=model, application=EVERYBODY if application is None else application, at_ms=at_ms
    )
    keys = ["model", "application"]
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_={"at_ms": at_ms}))


def find_removals(connection: Connection, model: str) -> Removals:
    """What was removed of a model."""
    query = sa.select(_removal.application, _removal.at_ms).where(_removal.model == model)
    return Removals({row.application: row.at_ms for row in connection.execute(query)})


def forget_removals(connection: Connection, now: int) -> None:
    """Forget those that concern nothing which is kept."""
    connection.execute(sa.delete(capture_removals).where(_removal.at_ms < now - KEPT_MS))
