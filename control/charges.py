"""What is billed, and what it costs. Pure.

A request is billed when its status is one of :data:`BILLED`, and then it counts against quotas as
well: what the model answered, and what it could not answer because of the request itself. Requests
that were turned away, and failures of this system (5xx), are free.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final, NamedTuple

from control.usage import Place, Rollup

BILLED: Final = frozenset({200, 400, 422})
"""Statuses that are billed: the ones that gateways count against quotas."""
SERVER_ERROR: Final = 500
_THOUSAND: Final = Decimal(1000)
_EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_MINOR_UNITS: Final = {
    "BHD": 3, "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "IQD": 3, "ISK": 0, "JOD": 3, "JPY": 0,
    "KMF": 0, "KRW": 0, "KWD": 3, "LYD": 3, "OMR": 3, "PYG": 0, "RWF": 0, "TND": 3, "UGX": 0,
    "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
}  # fmt: skip
"""Decimals of the currencies (ISO 4217) that have not two."""


class Price(NamedTuple):
    """Price of a thousand requests. An empty amount: free of charge."""

    amount: str
    currency: str


FREE: Final = Price("", "")


class Occasion(NamedTuple):
    """Where charges come from: the price and the plan are those of the minute."""

    minute: int
    application: str
    model: str
    plan: str


class Charge:
    """What has to be charged, and how much failed and is free of charge."""

    __slots__ = ("failed", "infer_us", "requests", "rows")

    def __init__(self) -> None:
        self.requests = 0
        """Billed."""
        self.failed = 0
        """Answered with 5xx."""
        self.rows = 0
        self.infer_us = 0

    def add(self, other: "Charge") -> None:
        """Add the sums of ``other``."""
        self.requests += other.requests
        self.failed += other.failed
        self.rows += other.rows
        self.infer_us += other.infer_us


def charges_of(places: Mapping[Place, Rollup]) -> dict[Occasion, Charge]:
    """What the applications have to be charged for. Management tokens are not billed."""
    charges: dict[Occasion, Charge] = {}
    for place, rollup in places.items():
        failed = place.status >= SERVER_ERROR
        if not place.application or not place.model or not (failed or place.status in BILLED):
            continue
        occasion = Occasion(place.minute, place.application, place.model, place.plan)
        charge = charges.get(occasion)
        if charge is None:
            charge = charges[occasion] = Charge()
        if failed:
            charge.failed += rollup.requests
            continue
        charge.requests += rollup.requests
        charge.rows += rollup.rows
        charge.infer_us += rollup.infer_us
    return charges


def amount(price: Price, requests: int) -> Decimal:
    """What ``requests`` cost, rounded half to even to the currency's smallest unit."""
    places = _MINOR_UNITS.get(price.currency, 2)
    exact = _EXACT.divide(_EXACT.multiply(Decimal(price.amount or "0"), requests), _THOUSAND)
    return exact.quantize(Decimal(1).scaleb(-places), context=_EXACT)
