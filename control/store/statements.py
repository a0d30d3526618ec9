"""Statements in SQL: closing months, and reading what was closed as it was."""

from collections.abc import Callable
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.charges import Charge, Price
from control.reach import Reach
from control.statements import LineKey, statement
from control.store.applications import check_filed
from control.store.charges import SUMS
from control.store.usage_rollups import CLOSED, inserting, lock, read_marks, set_mark
from control.store.usage_tables import usage_charges, usage_statements
from control.usage_periods import (
    day_of,
    day_start_ms,
    month_before,
    month_days,
    month_name,
    month_of,
    parse_month,
)
from control.usage_resources import Statement
from protocol.errors import Code, TollwayError
from registry.clock import Clock
from registry.store.database import Database

HOUR_MS: Final = 3_600_000
_KEY: Final = ("model", "day", "plan", "price", "currency")


class Statements:
    """Closes months and reads statements. Thread-safe; calls block."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        grace_h: float,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """``grace_h``: hours after a month's end for which its usage may still arrive."""
        self._database = database
        self._clock = clock
        self._grace_ms = round(grace_h * HOUR_MS)
        self._stopping = stopping

    def get(self, reach: Reach, application: str, month: str) -> Statement:
        """The application's statement of ``YYYY-MM``: as it was issued when the month is closed,
        else as it stands now; also after the application was deleted. ``NOT_FOUND`` for an
        application out of reach, and a month that has not begun."""
        wanted = parse_month(month)
        with self._database.read() as connection:
            check_filed(connection, application, reach)
            if wanted > month_of(day_of(self._clock())):
                raise TollwayError(Code.NOT_FOUND, f"the month {month} has not begun yet")
            if wanted > read_marks(connection).get(CLOSED, 0):
                return _compute(connection, application, wanted, None)
            stored = _read(connection, application, wanted)
        return stored or self._issue(application, wanted)

    def list(self, reach: Reach, application: str, limit: int, after: str) -> list[str]:
        """Months (``YYYY-MM``) of which the application has a statement, the newest first; after
        ``after``, if that is not empty."""
        table = usage_charges.c
        with self._database.read() as connection:
            check_filed(connection, application, reach)
            charged = sa.select(table.month).where(table.application == application)
            issued = sa.select(usage_statements.c.month).where(
                usage_statements.c.application == application
            )
            months = sa.union(charged, issued).subquery()
            query = sa.select(months.c.month).order_by(months.c.month.desc()).limit(limit)
            if after:
                query = query.where(months.c.month < parse_month(after))
            return [month_name(month) for month in connection.execute(query).scalars()]

    def close_months(self) -> int:
        """Close the months whose grace has passed, and issue their statements. Returns how many
        were issued. Usage that arrives later goes to the statement of a later month."""
        now = self._clock()
        last = month_before(month_of(day_of(now)))
        if day_start_ms(month_days(last).end) + self._grace_ms > now:
            last = month_before(last)
        with self._database.write() as connection:
            lock(connection, self._database)
            if read_marks(connection).get(CLOSED, 0) < last:
                set_mark(connection, self._database, CLOSED, last)
        return self._issue_missing(last)

    def _issue_missing(self, last: int) -> int:
        charges, issued = usage_charges.c, usage_statements.c
        query = (
            sa.select(charges.application, charges.month)
            .distinct()
            .select_from(
                usage_charges.outerjoin(
                    usage_statements,
                    sa.and_(
                        issued.application == charges.application, issued.month == charges.month
                    ),
                )
            )
            .where(charges.month <= last, issued.month.is_(None))
        )
        with self._database.read() as connection:
            missing = connection.execute(query).all()
        done = 0
        for application, month in missing:
            if self._stopping():
                break
            self._issue(application, month)
            done += 1
        return done

    def _issue(self, application: str, month: int) -> Statement:
        """Store the statement of a closed month, unless another process has just done so."""
        now = self._clock()
        with self._database.write() as connection:
            made = _compute(connection, application, month, now)
            insert = inserting(self._database)(usage_statements).values(
                application=application,
                month=month,
                document=made.model_dump_json(),
                closed_ms=now,
            )
            connection.execute(insert.on_conflict_do_nothing())
            stored = _read(connection, application, month)
        assert stored is not None
        return stored


def _read(connection: Connection, application: str, month: int) -> Statement | None:
    table = usage_statements.c
    document = connection.execute(
        sa.select(table.document).where(table.application == application, table.month == month)
    ).scalar()
    return None if document is None else Statement.model_validate_json(document)


def _compute(
    connection: Connection, application: str, month: int, closed_ms: int | None
) -> Statement:
    table = usage_charges.c
    rows = connection.execute(
        sa.select(*(table[name] for name in (*_KEY, *SUMS))).where(
            table.month == month, table.application == application
        )
    )
    lines: list[tuple[LineKey, Charge]] = []
    for row in rows:
        charge = Charge()
        for name in SUMS:
            setattr(charge, name, row._mapping[name])
        price = Price(row.price, row.currency)
        lines.append((LineKey(month_of(row.day), row.model, row.plan, price), charge))
    return statement(application, month, lines, closed_ms)
