"""Who calls a model, of whichever version: from the roll-ups of usage."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.reach import EVERYTHING
from control.rollouts.callers import RolloutCallers, callers_of
from control.store.pin_rows import pins
from control.store.tables import applications, ended_applications
from control.store.usage_reading import UsageReports
from control.usage_report import MINUTE_MS, UsageQuery
from registry.clock import Clock
from registry.models import model_not_found
from registry.store import models as model_store
from registry.store.database import Database

DAY_MS: Final = 86_400_000
_CHUNK: Final = 400


class CanaryCallers:
    """Reads who calls a model. Thread-safe; calls block."""

    def __init__(self, database: Database, reports: UsageReports, clock: Clock) -> None:
        self._database = database
        self._reports = reports
        self._clock = clock

    def of(self, model: str, days: int, limit: int) -> RolloutCallers:
        """The applications that called within the last ``days``, the ``limit`` busiest of them
        listed. Raises ``MODEL_NOT_FOUND``."""
        with self._database.read() as connection:
            if model_store.get(connection, model) is None:
                raise model_not_found(model)
        requests = self._requests(model, days)
        named = sorted(requests, key=lambda name: (-requests[name], name))[:limit]
        with self._database.read() as connection:
            return callers_of(
                model,
                days,
                requests,
                named,
                _consumers(connection, named),
                _pins(connection, model, named),
            )

    def _requests(self, model: str, days: int) -> dict[str, int]:
        end = self._clock() // MINUTE_MS + 1
        query = UsageQuery(
            start=max(end - days * DAY_MS // MINUTE_MS, 0),
            end=end,
            by=("application",),
            step=None,
            only={"model": model},
        )
        items = self._reports.items(EVERYTHING, query)
        return {item.application: item.requests for item in items if item.application}


def _consumers(connection: Connection, named: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(named), _CHUNK):
        some = named[start : start + _CHUNK]
        for table in (ended_applications, applications):
            query = sa.select(table.c.name, table.c.consumer).where(table.c.name.in_(some))
            found |= {row.name: row.consumer for row in connection.execute(query)}
    return found


def _pins(connection: Connection, model: str, named: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for start in range(0, len(named), _CHUNK):
        query = sa.select(pins.c.application, pins.c.version).where(
            pins.c.model == model, pins.c.application.in_(named[start : start + _CHUNK])
        )
        found |= {row.application: row.version for row in connection.execute(query)}
    return found
