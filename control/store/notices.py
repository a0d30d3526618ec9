"""What the callers of ending versions were told, so that each is told once."""

from collections.abc import Sequence
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.callers import Caller
from control.store.tables import NAME
from control.store.usage_rollups import inserting
from registry.clock import rfc3339
from registry.store import audit
from registry.store import models as model_store
from registry.store import versions as version_store
from registry.store.database import Database, metadata
from registry.store.versions import VersionRecord

deprecation_notices = sa.Table(
    "deprecation_notices",
    metadata,
    sa.Column("model", NAME, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sunset", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("notice", sa.String(16), primary_key=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
)
"""``sunset``: UNIX seconds, 0 for notices that no sunset belongs to."""

ANNOUNCED: Final = "announced"
HELD: Final = "held"
"""That a version could not be retired at its sunset."""


class CallerNotice(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit entry, and the event made of it, says to one application."""

    application: str
    consumer: str | None
    model: str
    version: int
    since: str
    sunset: str | None
    days_left: int | None
    successor: int | None
    note: str
    requests: int
    """Of the application, within the days that make it a caller."""
    last_call_at: str


class Notices:
    """Writes notices. Thread-safe; calls block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ending(self) -> list[VersionRecord]:
        """Every deprecated version."""
        with self._database.read() as connection:
            return version_store.in_state(connection, "deprecated")

    def told(self, version: VersionRecord, sunset: int) -> set[str]:
        """Which notices were given of the version with this sunset, and with none."""
        table = deprecation_notices.c
        query = sa.select(table.notice).where(
            table.model == version.model,
            table.number == version.number,
            table.sunset.in_([0, sunset]),
        )
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def tell(
        self,
        version: VersionRecord,
        action: str,
        notices: Sequence[tuple[str, int]],
        callers: Sequence[Caller],
        days_left: int | None,
        now: int,
    ) -> int:
        """Give ``notices`` (name, sunset), all by one entry for each caller, unless the version has
        changed or another process has given them. Returns how many callers were told."""
        with self._database.write() as connection:
            model_store.lock(connection, version.model)
            if version_store.get(connection, version.model, version.number, lock=True) != version:
                return 0
            if not self._note(connection, version, notices, now):
                return 0
            for caller in callers:
                notice = _notice(version, caller, days_left)
                audit.record(
                    connection,
                    action,
                    "deprecation",
                    f"{caller.application}/{version.model}/{version.number}",
                    at_ms=now,
                    after=notice,
                )
        return len(callers)

    def held(self, version: VersionRecord, sunset: int, reason: str, now: int) -> bool:
        """Say once that the version could not be retired at its sunset, and why."""
        with self._database.write() as connection:
            model_store.lock(connection, version.model)
            if not self._note(connection, version, [(HELD, sunset)], now):
                return False
            audit.record(
                connection,
                "version.retirement_held",
                "version",
                f"{version.model}/{version.number}",
                at_ms=now,
                after=version_store.standing(version),
                reason=reason,
            )
        return True

    def _note(
        self,
        connection: Connection,
        version: VersionRecord,
        notices: Sequence[tuple[str, int]],
        now: int,
    ) -> bool:
        """Whether any of them is new."""
        rows = [
            {
                "model": version.model,
                "number": version.number,
                "sunset": sunset,
                "notice": notice,
                "at_ms": now,
            }
            for notice, sunset in notices
        ]
        insert = inserting(self._database)(deprecation_notices).values(rows)
        # What it returns, since not every driver counts the rows of an INSERT.
        made = insert.on_conflict_do_nothing().returning(deprecation_notices.c.notice)
        return bool(connection.execute(made).all())


def _notice(version: VersionRecord, caller: Caller, days_left: int | None) -> CallerNotice:
    ending = version.deprecation
    assert ending is not None
    return CallerNotice(
        application=caller.application,
        consumer=caller.consumer,
        model=version.model,
        version=version.number,
        since=rfc3339(ending.since * 1000),
        sunset=None if ending.sunset is None else rfc3339(ending.sunset * 1000),
        days_left=days_left,
        successor=ending.successor,
        note=ending.note,
        requests=caller.requests,
        last_call_at=rfc3339(caller.last_ms),
    )
