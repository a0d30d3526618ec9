"""What limits refused, in SQL: added to with usage, reported, and removed when it is old."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.latency_report import cut
from control.reach import Reach
from control.refusals import (
    GRAIN,
    MAX_CALLERS,
    RefusalColumn,
    RefusalReport,
    Refused,
    RefusedCaller,
)
from control.store.reach import reaches
from control.store.usage_rollups import inserting
from control.store.usage_tables import usage_refusals
from control.usage_report import UsageQuery
from registry.clock import rfc3339
from registry.store.database import Database

_MINUTE_MS = 60_000
_table = usage_refusals.c


def add(connection: Connection, database: Database, found: Mapping[Refused, int]) -> None:
    """Add to what is counted. In the transaction of the usage."""
    if not found:
        return
    insert = inserting(database)(usage_refusals)
    keys = [_table[name] for name in Refused._fields]
    more = {"requests": _table.requests + insert.excluded["requests"]}
    rows = [{**place._asdict(), "requests": count} for place, count in sorted(found.items())]
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=more), rows)


class Refusals:
    """Reads what limits refused. Thread-safe; calls block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def report(self, reach: Reach, query: UsageQuery, columns: int) -> RefusalReport:
        """Refusals by time and by caller, as far as they are within reach."""
        span = cut(query.start, query.end, columns, GRAIN)
        which = sa.and_(
            _table.minute >= span.start,
            _table.minute < span.end,
            reaches(reach, _table.application, _table.model),
            *(_table[name] == value for name, value in query.only.items()),
        )
        at = _table.minute // span.width * span.width
        times = {time: dict[str, int]() for time in range(span.start, max(span.end, 1), span.width)}
        amount = sa.func.sum(_table.requests)
        place = (_table.application, _table.model, _table.plan, _table.limit)
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(at, _table.limit, amount).where(which).group_by(at, _table.limit)
            ).all()
            callers = connection.execute(
                sa.select(*place, amount, sa.func.max(_table.minute))
                .where(which)
                .group_by(*place)
                .order_by(amount.desc(), *place)
                .limit(MAX_CALLERS)
            ).all()
        for time, limit, count in rows:
            times.setdefault(int(time), {})[limit] = int(count)
        return RefusalReport(
            minutes=span.width,
            items=[
                RefusalColumn(time=rfc3339(time * _MINUTE_MS), **counts)
                for time, counts in sorted(times.items())
            ],
            callers=[
                RefusedCaller(
                    application=application,
                    model=model,
                    plan=plan,
                    limit=limit,
                    requests=int(count),
                    last_at=rfc3339(last * _MINUTE_MS),
                )
                for application, model, plan, limit, count, last in callers
            ],
        )
