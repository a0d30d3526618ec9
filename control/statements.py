"""Statements: what an application has to pay for a month. Pure."""

import hashlib
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

import rfc8785

from control.charges import Charge, Price, amount
from control.usage_periods import day_start_ms, month_days, month_name
from control.usage_resources import Statement, StatementLine, StatementTotal
from registry.clock import rfc3339


class LineKey(NamedTuple):
    """What a line is of; lines stand in this order."""

    month: int
    """When it was used."""
    model: str
    plan: str
    price: Price


def statement(
    application: str,
    month: int,
    charges: Iterable[tuple[LineKey, Charge]],
    closed_ms: int | None,
) -> Statement:
    """The statement of these charges; ``closed_ms``: when the month was closed, if it is."""
    lines: dict[LineKey, Charge] = {}
    for key, charge in charges:
        lines.setdefault(key, Charge()).add(charge)
    totals: dict[str, Decimal] = {}
    for key, charge in lines.items():
        if key.price.currency:
            cost = amount(key.price, charge.requests)
            totals[key.price.currency] = totals.get(key.price.currency, Decimal(0)) + cost
    shown = [_line(key, lines[key]) for key in sorted(lines)]
    name, days = month_name(month), month_days(month)
    whole = Statement(
        id=f"{application}/{name}",
        application=application,
        month=name,
        state="open" if closed_ms is None else "closed",
        start=rfc3339(day_start_ms(days.first)),
        end=rfc3339(day_start_ms(days.end)),
        closed_at=None if closed_ms is None else rfc3339(closed_ms),
        lines=[line for line in shown if line.month == name],
        late=[line for line in shown if line.month != name],
        totals=[StatementTotal(currency=c, amount=str(totals[c])) for c in sorted(totals)],
        digest=None,
    )
    if closed_ms is None:
        return whole
    return whole.model_copy(update={"digest": digest(whole)})


def digest(statement: Statement) -> str:
    """``sha256:`` of the statement's canonical JSON without its own digest."""
    document = statement.model_dump(mode="json", exclude={"digest"})
    return "sha256:" + hashlib.sha256(rfc8785.dumps(document)).hexdigest()


def _line(key: LineKey, charge: Charge) -> StatementLine:
    return StatementLine(
        month=month_name(key.month),
        model=key.model,
        plan=key.plan,
        requests=charge.requests,
        failed_requests=charge.failed,
        rows=charge.rows,
        compute_ms=round(charge.infer_us / 1000, 3),
        price_per_thousand=key.price.amount or None,
        currency=key.price.currency or None,
        amount=str(amount(key.price, charge.requests)),
    )
