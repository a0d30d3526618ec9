"""A plan's form: what it shows of a plan, and what it sends. Pure."""

from collections.abc import Mapping
from typing import Final

import msgspec

from control.plans import MAX_RATES, Plan
from control.portal.forms import Form

SPARE_ROWS: Final = 2
"""Rows of rates that are empty, to be filled in."""
_SCOPES: Final = ("predict", "explain", "feedback", "metadata")
Fields = dict[str, str]


LABELS: Final = {
    "title": "Title",
    "description": "Description",
    "price": "Price of 1,000 requests",
    "currency": "Currency",
    "quota_limit": "Quota",
    "quota_unit": "Quota, of",
    "quota_period": "Quota, for each",
    "concurrency": "Requests at once",
    "max_rows": "Rows in a request",
    "max_body_bytes": "Largest body (bytes)",
    "deadline_ms": "Longest answer (ms)",
    "approval": "Who lets applications subscribe",
    "fail_mode": "While the counters cannot be reached",
    "scopes": "Keys may be used for",
    "rates": "Rates",
}
"""What the fields are called, where a plan is held against another."""


class PlanForm(msgspec.Struct, frozen=True):
    """What stands in the form."""

    fields: Fields
    scopes: list[str]
    rows: int
    """Rows of rates."""

    @property
    def texts(self) -> Fields:
        """All of it as texts, to be held against another; the rates are one, a line each."""
        named = {name: self.fields.get(name, "") for name in LABELS}
        scopes = ", ".join(one for one in _SCOPES if one in self.scopes)
        rates = (self._rate(at) for at in range(MAX_RATES))
        return named | {"scopes": scopes, "rates": "\n".join(rate for rate in rates if rate)}

    def _rate(self, at: int) -> str:
        name, requests, window, burst = (self.fields.get(one, "") for one in rate_fields(at))
        if not name:
            return ""
        return f"{name}: {requests} in {window} s" + (f", {burst} at once" if burst else "")


def rate_fields(at: int) -> tuple[str, str, str, str]:
    """The names of the fields in a row of rates."""
    return (f"rate_name_{at}", f"rate_requests_{at}", f"rate_window_{at}", f"rate_burst_{at}")


def merged(typed: PlanForm, present: PlanForm, values: Mapping[str, str]) -> PlanForm:
    """``typed`` with the texts of ``values``, and the present rates where these are theirs."""
    named = {name: text for name, text in values.items() if name != "rates"}
    rates = present if values["rates"] == present.texts["rates"] else typed
    places = [field for at in range(MAX_RATES) for field in rate_fields(at)]
    fields = {**typed.fields, **named} | {name: rates.fields.get(name, "") for name in places}
    return PlanForm(fields, values["scopes"].split(", "), rates.rows)


def form_of(plan: Plan | None) -> PlanForm:
    """The form of a plan; None: an empty one."""
    fields: Fields = {
        "name": "",
        "title": "",
        "description": "",
        "fail_mode": "closed",
        "approval": "automatic",
        "quota_unit": "requests",
        "quota_period": "month",
    }
    if plan is None:
        return PlanForm(fields, list(_SCOPES), SPARE_ROWS)
    for at, rate in enumerate(plan.rates):
        fields |= {
            f"rate_name_{at}": rate.name,
            f"rate_requests_{at}": str(rate.requests),
            f"rate_window_{at}": str(rate.window_s),
            f"rate_burst_{at}": _text(rate.burst),
        }
    if plan.quota is not None:
        fields |= {
            "quota_limit": str(plan.quota.limit),
            "quota_unit": plan.quota.unit,
            "quota_period": plan.quota.period,
        }
    if plan.price_per_thousand is not None:
        fields |= {
            "price": plan.price_per_thousand.amount,
            "currency": plan.price_per_thousand.currency,
        }
    fields |= {
        "name": plan.name,
        "title": plan.title,
        "description": plan.description,
        "concurrency": _text(plan.concurrency),
        "max_body_bytes": _text(plan.max_body_bytes),
        "max_rows": _text(plan.max_rows),
        "deadline_ms": _text(plan.deadline_ms),
        "fail_mode": plan.fail_mode,
        "approval": plan.approval,
    }
    scopes: list[str] = list(_SCOPES if plan.scopes is None else plan.scopes)
    return PlanForm(fields, scopes, min(len(plan.rates) + SPARE_ROWS, MAX_RATES))


def typed(form: Form) -> PlanForm:
    """The form as it was sent, to be shown again."""
    sent = form_of(None).fields | form.values()
    rows = 1 + max((at for at in range(MAX_RATES) if any(_row(form, at))), default=0)
    return PlanForm(sent, form.every("scopes"), min(rows + SPARE_ROWS, MAX_RATES))


def body_of(form: Form) -> dict[str, object]:
    """What the API is sent. What is no number goes as it is, so that the API says so."""
    rates: list[dict[str, object]] = []
    for at in range(MAX_RATES):
        name, requests, window, burst = _row(form, at)
        if not any((name, requests, window)):
            continue
        rate: dict[str, object] = {
            "name": name,
            "requests": form.number(f"rate_requests_{at}"),
            "window_s": form.number(f"rate_window_{at}"),
        }
        if burst:
            rate["burst"] = form.number(f"rate_burst_{at}")
        rates.append(rate)
    body: dict[str, object] = {
        "title": form.text("title"),
        "description": form.text("description"),
        "rates": rates,
        "fail_mode": form.text("fail_mode"),
        "approval": form.text("approval"),
    }
    if form.text("quota_limit"):
        body["quota"] = {
            "limit": form.number("quota_limit"),
            "unit": form.text("quota_unit"),
            "period": form.text("quota_period"),
        }
    if form.text("price"):
        body["price_per_thousand"] = {
            "amount": form.text("price"),
            "currency": form.text("currency").upper(),
        }
    for name in ("concurrency", "max_body_bytes", "max_rows", "deadline_ms"):
        if (value := form.number(name)) is not None:
            body[name] = value
    scopes = form.every("scopes")
    if set(scopes) != set(_SCOPES):
        body["scopes"] = scopes
    return body


PLACES: Final = {
    "quota.limit": "quota_limit",
    "quota.unit": "quota_unit",
    "quota.period": "quota_period",
    "price_per_thousand.amount": "price",
    "price_per_thousand.currency": "currency",
} | {
    f"rates.{at}.{part}": f"rate_{field}_{at}"
    for at in range(MAX_RATES)
    for part, field in (
        ("name", "name"),
        ("requests", "requests"),
        ("window_s", "window"),
        ("burst", "burst"),
    )
}
"""Field of the API -> field of the form."""


def _row(form: Form, at: int) -> tuple[str, str, str, str]:
    name, requests, window, burst = (
        form.text(f"rate_{part}_{at}") for part in ("name", "requests", "window", "burst")
    )
    return name, requests, window, burst


def _text(value: int | None) -> str:
    return "" if value is None else str(value)
