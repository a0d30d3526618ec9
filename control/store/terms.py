"""The terms that usage is billed and limited by: plans' prices over time, and their quotas.

Prices come from the audit log, which keeps what a plan was before and after every change, so that a
minute can be billed by the price of that minute, however late its usage arrives.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.charges import FREE, Price
from control.store.tables import subscriptions
from protocol.configuration import PlanDoc, QuotaDoc
from registry.store.audit import audit, audit_head
from registry.store.changes import change_stream, changes

_PLAN: Final = "plan"
_CHUNK: Final = 400
_heads: Final = sa.select(
    *(sa.select(table.c.seq).scalar_subquery() for table in (audit_head, change_stream))
)


class _Amount(msgspec.Struct):
    amount: str
    currency: str


class _PricedPlan(msgspec.Struct):
    price_per_thousand: _Amount | None = None


class _Prices(NamedTuple):
    """``prices[n]`` holds from ``since_ms[n - 1]`` on, ``prices[0]`` before all of them."""

    since_ms: list[int]
    prices: list[Price]

    def at(self, at_ms: int) -> Price:
        return self.prices[bisect_right(self.since_ms, at_ms)]


_priced = msgspec.json.Decoder(_PricedPlan | None)
_plan = msgspec.json.Decoder(PlanDoc)


class Terms:
    """Remembers terms until something is changed in the management API. One thread at a time."""

    def __init__(self) -> None:
        self._version: tuple[int, ...] = ()
        self._prices: dict[str, _Prices] = {}
        self._plans: dict[tuple[str, str], str] = {}
        self._quotas: dict[str, QuotaDoc] | None = None

    def refresh(self, connection: Connection) -> None:
        """Forget what may have changed: every change leaves an audit entry or a change, or both."""
        version = tuple(connection.execute(_heads).one())
        if version != self._version:
            self._version = version
            self._prices, self._plans, self._quotas = {}, {}, None

    def price(self, connection: Connection, plan: str, at_ms: int) -> Price:
        """The plan's price per thousand requests at that moment."""
        known = self._prices.get(plan)
        if known is None:
            known = self._prices[plan] = _read_prices(connection, plan)
        return known.at(at_ms)

    def plans(
        self, connection: Connection, pairs: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], str]:
        """Plan of the present subscriptions of (application, model); empty where there is none."""
        wanted = list(pairs)
        missing = [pair for pair in wanted if pair not in self._plans]
        table = subscriptions.c
        # By application alone: SQLite uses no index for pairs.
        names = sorted({application for application, _ in missing})
        for start in range(0, len(names), _CHUNK):
            found = connection.execute(
                sa.select(table.application, table.model, table.plan).where(
                    table.application.in_(names[start : start + _CHUNK])
                )
            )
            self._plans.update({(row.application, row.model): row.plan for row in found})
        for pair in missing:
            self._plans.setdefault(pair, "")
        return {pair: self._plans[pair] for pair in wanted}

    def quotas(self, connection: Connection) -> dict[str, QuotaDoc]:
        """Plan -> quota, of the plans that have one."""
        if self._quotas is None:
            self._quotas = read_quotas(connection)
        return self._quotas


def read_quotas(connection: Connection) -> dict[str, QuotaDoc]:
    """Plan -> quota, of the plans that have one, as the gateways are told of them."""
    table = changes.c
    found = connection.execute(
        sa.select(table.key, table.doc).where(table.kind == _PLAN).order_by(table.seq)
    )
    # The newest row of each plan is what it is.
    documents = {row.key: row.doc for row in found}
    plans = {name: _plan.decode(doc) for name, doc in documents.items() if doc is not None}
    return {name: plan.quota for name, plan in plans.items() if plan.quota is not None}


def _read_prices(connection: Connection, plan: str) -> _Prices:
    table = audit.c
    entries = connection.execute(
        sa.select(table.at_ms, table.before, table.after)
        .where(table.kind == _PLAN, table.key == plan)
        .order_by(table.seq)
    ).all()
    since: list[int] = []
    prices = [FREE]
    for number, entry in enumerate(entries):
        after = _price(entry.after)
        if number == 0:
            # What it was before the log begins; a plan that was made then was never anything else.
            before = _price(entry.before)
            prices = [before if before is not None else after or FREE]
        if after is not None:
            # Clocks may step back between two changes; their order is that of the log.
            since.append(max(entry.at_ms, since[-1] if since else entry.at_ms))
            prices.append(after)
    return _Prices(since, prices)


def _price(state: str | None) -> Price | None:
    """The price in a plan's audit entry; None where the plan was not there."""
    plan = None if state is None else _priced.decode(state)
    if plan is None:
        return None
    price = plan.price_per_thousand
    return FREE if price is None else Price(price.amount, price.currency)
