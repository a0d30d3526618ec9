"""Charges in SQL: what each subscription used by day, plan and price."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from control.charges import Charge, Occasion
from control.store.terms import Terms
from control.store.usage_rollups import CLOSED
from control.store.usage_tables import usage_charges
from control.usage_periods import DAY_MINUTES, MINUTE_MS, day_of, month_of
from registry.store.database import Database

SUMS: Final = ("requests", "failed", "rows", "infer_us")


class Account(NamedTuple):
    """What a row of charges is of."""

    application: str
    model: str
    day: int
    plan: str
    price: str
    currency: str
    month: int
    """Of the statement that it stands on."""


def add_charges(
    connection: Connection,
    database: Database,
    terms: Terms,
    charges: Mapping[Occasion, Charge],
    marks: Mapping[str, int],
    now_ms: int,
) -> set[Account]:
    """Add charges, and answer with the rows that they went to.

    What belongs to a closed month goes to the statement of the present one: a statement that was
    issued never changes. Callers hold the lock of ingestion, so no month closes meanwhile.
    """
    if not charges:
        return set()
    unnamed = {(one.application, one.model) for one in charges if not one.plan}
    fallback = terms.plans(connection, unnamed)
    closed, present = marks.get(CLOSED, 0), month_of(day_of(now_ms))
    accounts: dict[Account, Charge] = {}
    for occasion, charge in charges.items():
        day = occasion.minute // DAY_MINUTES
        # A gateway of an earlier version does not tell the plan: the subscription does.
        plan = occasion.plan or fallback[occasion.application, occasion.model]
        price = terms.price(connection, plan, occasion.minute * MINUTE_MS)
        month = month_of(day)
        account = Account(
            occasion.application,
            occasion.model,
            day,
            plan,
            price.amount,
            price.currency,
            month if month > closed else max(present, closed + 1),
        )
        accounts.setdefault(account, Charge()).add(charge)
    connection.execute(
        _upsert(is_sqlite=database.is_sqlite),
        [
            {**account._asdict(), **{name: getattr(charge, name) for name in SUMS}}
            for account, charge in accounts.items()
        ],
    )
    return set(accounts)


@lru_cache  # making the statement takes longer than executing it
def _upsert(*, is_sqlite: bool) -> sa.Insert:
    insert = sqlite.insert(usage_charges) if is_sqlite else postgresql.insert(usage_charges)
    return insert.on_conflict_do_update(
        index_elements=list(Account._fields),
        set_={name: usage_charges.c[name] + insert.excluded[name] for name in SUMS},
    )


def sums_of(column: str) -> sa.ColumnElement[int]:
    """The sum of a column of charges, as a whole number."""
    return sa.func.coalesce(sa.func.sum(usage_charges.c[column]), 0)
