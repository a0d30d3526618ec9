"""Who calls a model, of whichever version, and what answered lately: sums that the database makes.

Reports of usage say more, and read the histogram of each row for it; these are asked every few
seconds by whoever watches a rollout.
"""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.rollouts.callers import RolloutCallers, RolloutTraffic, callers_of
from control.store.pin_rows import pins
from control.store.tables import applications, ended_applications
from control.store.usage_rollups import FOLDED, read_marks
from control.store.usage_tables import usage_days, usage_minutes
from control.usage import MINUTE_MS
from control.usage_tiers import DAY, floor
from registry.clock import Clock
from registry.models import model_not_found
from registry.store import models as model_store
from registry.store.database import Database

_CHUNK: Final = 400


class CanaryCallers:
    """Reads who calls a model. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def of(self, model: str, days: int, limit: int) -> RolloutCallers:
        """The applications that called within the last ``days``, in whole days, the ``limit``
        busiest of them listed. Raises ``MODEL_NOT_FOUND``."""
        start = floor(self._clock() // MINUTE_MS - (days - 1) * DAY, DAY)
        with self._database.read() as connection:
            _check_known(connection, model)
            by_application = _requests(connection, model, start)
            whole = sa.select(
                sa.func.count(), sa.func.coalesce(sa.func.sum(by_application.c.requests), 0)
            ).select_from(by_application)
            count, requests = connection.execute(whole).one()
            busiest = (
                sa.select(by_application)
                .order_by(by_application.c.requests.desc(), by_application.c.application)
                .limit(limit)
            )
            named = {row.application: int(row.requests) for row in connection.execute(busiest)}
            return callers_of(
                model,
                days,
                (int(count), int(requests)),
                named,
                _consumers(connection, list(named)),
                _pins(connection, model, list(named)),
            )

    def traffic(self, model: str, minutes: int) -> list[RolloutTraffic]:
        """Requests of the last ``minutes`` by variant and version. Raises ``MODEL_NOT_FOUND``."""
        table = usage_minutes.c
        query = (
            sa.select(table.variant, table.version, sa.func.sum(table.requests).label("requests"))
            .where(table.model == model, table.minute > self._clock() // MINUTE_MS - minutes)
            .group_by(table.variant, table.version)
            .order_by(table.variant, table.version)
        )
        with self._database.read() as connection:
            _check_known(connection, model)
            return [
                RolloutTraffic(variant=row.variant, version=row.version, requests=int(row.requests))
                for row in connection.execute(query)
            ]


def _check_known(connection: Connection, model: str) -> None:
    if model_store.get(connection, model) is None:
        raise model_not_found(model)


def _requests(connection: Connection, model: str, start: int) -> sa.Subquery:
    """Application -> requests since the minute ``start``: whole days as far as they are summed up,
    and the minutes that are not yet."""
    folded = max(read_marks(connection).get(FOLDED, 0), start)
    spans = [
        sa.select(table.c.application, table.c.requests).where(
            table.c.model == model, table.c.application != "", table.c.minute >= begin
        )
        for table, begin in ((usage_days, start), (usage_minutes, folded))
    ]
    every = sa.union_all(*spans).subquery()
    return (
        sa.select(every.c.application, sa.func.sum(every.c.requests).label("requests"))
        .group_by(every.c.application)
        .subquery()
    )


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
