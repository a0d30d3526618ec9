"""Consumption against quotas: exact, from usage that was taken in."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.reach import Reach
from control.resources import Page
from control.store.charges import Account
from control.store.reach import reaches
from control.store.tables import subscriptions
from control.store.terms import Terms, read_quotas
from control.store.usage_rollups import inserting
from control.store.usage_tables import usage_charges, usage_thresholds
from control.usage_periods import Period, day_of, day_start_ms, period_of
from control.usage_resources import QuotaUse
from protocol.configuration import QuotaDoc, QuotaUnit
from registry.clock import Clock, rfc3339
from registry.store import audit
from registry.store.database import Database

THRESHOLDS: Final = (80, 100)
"""Shares of a quota, in per cent, that are told of when they are reached."""
_CHUNK: Final = 400
Pair = tuple[str, str]


class ThresholdReached(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit entry ``quota.threshold_reached`` says of the subscription."""

    percent: int
    limit: int
    used: int
    unit: QuotaUnit
    period: str


class Quotas:
    """Reads consumption. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def list(
        self,
        reach: Reach,
        limit: int,
        after: str,
        application: str | None,
        model: str | None,
        reached: int | None = None,
    ) -> Page[QuotaUse]:
        """Subscriptions under a plan with a quota that are within reach, by application and model.

        ``after`` is ``APPLICATION/MODEL``. ``reached``: only those that have reached so many per
        cent, one of :data:`THRESHOLDS`, in the present day or month.
        """
        today = day_of(self._clock())
        table = subscriptions.c
        with self._database.read() as connection:
            quotas = read_quotas(connection)
            query = (
                sa.select(table.application, table.model, table.plan)
                .where(
                    table.state == "active",
                    table.plan.in_(quotas),
                    sa.tuple_(table.application, table.model)
                    > sa.tuple_(*(sa.literal(part) for part in _pair(after))),
                    reaches(reach, table.application, table.model),
                )
                .order_by(table.application, table.model)
                .limit(limit + 1)
            )
            if application is not None:
                query = query.where(table.application == application)
            if model is not None:
                query = query.where(table.model == model)
            if reached is not None:
                query = query.where(_has_reached(reached, today))
            found = connection.execute(query).all()
            shown = found[:limit]
            wanted = {
                (row.application, row.model): (
                    quotas[row.plan],
                    period_of(today, quotas[row.plan].period),
                )
                for row in shown
            }
            used = _used(connection, wanted)
        items = []
        for row in shown:
            quota, period = wanted[row.application, row.model]
            consumed = used.get((row.application, row.model), 0)
            items.append(
                QuotaUse(
                    application=row.application,
                    model=row.model,
                    plan=row.plan,
                    unit=quota.unit,
                    period=period.name,
                    limit=quota.limit,
                    used=consumed,
                    left=max(quota.limit - consumed, 0),
                    resets_at=rfc3339(day_start_ms(period.end)),
                )
            )
        following = f"{items[-1].application}/{items[-1].model}" if len(found) > limit else None
        return Page(items=items, next=following)


def _has_reached(percent: int, today: int) -> sa.ColumnElement[bool]:
    told = usage_thresholds.c
    periods = [period_of(today, kind).name for kind in ("day", "month")]
    return sa.exists().where(
        told.application == subscriptions.c.application,
        told.model == subscriptions.c.model,
        told.period.in_(periods),
        told.percent >= percent,
    )


def tell_thresholds(
    connection: Connection,
    database: Database,
    terms: Terms,
    accounts: Iterable[Account],
    now_ms: int,
) -> None:
    """Write an audit entry for each threshold that the usage just added has reached.

    Once for each subscription, period, limit and threshold; in the transaction of the usage.
    """
    quotas = terms.quotas(connection)
    if not quotas:
        return
    days: dict[Pair, set[int]] = defaultdict(set)
    for account in accounts:
        days[account.application, account.model].add(account.day)
    by_period: dict[Period, dict[Pair, tuple[QuotaDoc, Period]]] = defaultdict(dict)
    for pair, plan in terms.plans(connection, days).items():
        quota = quotas.get(plan)
        if quota is not None:
            for period in {period_of(day, quota.period) for day in days[pair]}:
                by_period[period][pair] = (quota, period)
    for wanted in by_period.values():
        for pair, used in _used(connection, wanted).items():
            quota, period = wanted[pair]
            for percent in THRESHOLDS:
                if used * 100 >= quota.limit * percent:
                    _tell(connection, database, pair, quota, period, percent, used, now_ms)


def _tell(
    connection: Connection,
    database: Database,
    pair: Pair,
    quota: QuotaDoc,
    period: Period,
    percent: int,
    used: int,
    now_ms: int,
) -> None:
    application, model = pair
    row = {
        "application": application,
        "model": model,
        "period": period.name,
        "unit": quota.unit,
        "limit": quota.limit,
        "percent": percent,
    }
    insert = inserting(database)(usage_thresholds).values(**row, at_ms=now_ms)
    # What it returns, since not every driver counts the rows of an INSERT.
    made = insert.on_conflict_do_nothing().returning(usage_thresholds.c.percent)
    if connection.execute(made).first() is None:
        return
    audit.record(
        connection,
        "quota.threshold_reached",
        "subscription",
        f"{application}/{model}",
        at_ms=now_ms,
        after=ThresholdReached(
            percent=percent, limit=quota.limit, used=used, unit=quota.unit, period=period.name
        ),
    )


def _used(connection: Connection, wanted: dict[Pair, tuple[QuotaDoc, Period]]) -> dict[Pair, int]:
    """What each (application, model) has consumed of its quota in the period."""
    table = usage_charges.c
    used: dict[Pair, int] = {}
    by_period: dict[Period, list[Pair]] = defaultdict(list)
    for pair, (_, period) in wanted.items():
        by_period[period].append(pair)
    for period, pairs in by_period.items():
        # By application alone: SQLite uses no index for pairs.
        names = sorted({application for application, _ in pairs})
        for start in range(0, len(names), _CHUNK):
            found = connection.execute(
                sa.select(
                    table.application,
                    table.model,
                    sa.func.sum(table.requests),
                    sa.func.sum(table.rows),
                    sa.func.sum(table.infer_us),
                )
                .where(
                    table.application.in_(names[start : start + _CHUNK]),
                    table.day >= period.first,
                    table.day < period.end,
                )
                .group_by(table.application, table.model)
            )
            for application, model, requests, rows, infer_us in found:
                quota, of = wanted.get((application, model), (None, None))
                if quota is None or of != period:
                    continue
                by_unit: dict[QuotaUnit, int] = {
                    "requests": int(requests),
                    "rows": int(rows),
                    "compute_ms": int(infer_us) // 1000,
                }
                used[application, model] = by_unit[quota.unit]
    return used


def _pair(after: str) -> Pair:
    application, _, model = after.partition("/")
    return application, model
