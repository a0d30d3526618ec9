"""The short way from a model to a key of one's own: what its form asks, and its three steps."""

import asyncio
import secrets
from typing import Final

import msgspec

from control.catalogue import CatalogueEntry
from control.plans import Plan
from control.portal.applications import MANY, make_application, suggested_name
from control.portal.forms import Form
from control.portal.session import Visit
from control.resources import Application, NewKey, Page, Subscription

NEW: Final = ""
"""Stands for a new application where one is chosen."""
_ONCE_BYTES: Final = 16


class Offer(msgspec.Struct, frozen=True):
    """What the form shows."""

    entry: CatalogueEntry
    plans: list[Plan]
    applications: list[Application]
    subscriptions: list[Subscription]
    """Those to the model that there are already."""
    suggested: str
    """A name for a new application."""
    once: str
    """Makes a repetition of the form safe: it makes no second key."""


class Taken(msgspec.Struct, frozen=True):
    """What the three steps made."""

    entry: CatalogueEntry
    application: str
    subscription: Subscription
    plan: Plan
    key: NewKey


async def read_offer(visit: Visit, model: str) -> Offer:
    """Model, plans, and what the visitor has already."""
    entry, plans, applications, subscriptions = await asyncio.gather(
        visit.api.get(f"/catalogue/{model}", CatalogueEntry),
        visit.api.get("/plans", Page[Plan], limit=MANY),
        visit.api.get("/applications", Page[Application], limit=MANY),
        visit.api.get("/subscriptions", Page[Subscription], model=model, limit=MANY),
    )
    mine = {one.name for one in applications.items}
    return Offer(
        entry,
        sorted(plans.items, key=_first),
        applications.items,
        [one for one in subscriptions.items if one.application in mine],
        suggested_name(visit, mine),
        secrets.token_urlsafe(_ONCE_BYTES),
    )


def _first(plan: Plan) -> tuple[bool, bool, float, int, str]:
    """Plans that begin at once come first, of these the cheapest, of these the smallest."""
    price = plan.price_per_thousand
    size = plan.quota.limit if plan.quota is not None else 1 << 62
    cost = 0.0 if price is None else float(price.amount)
    return plan.approval != "automatic", cost > 0, cost, size, plan.name


async def take(visit: Visit, model: str, form: Form) -> Taken:
    """Make the application if it is new, subscribe it, and make a key. Raises
    :class:`ApiRefusal`, with the form's field where it is about one.

    Each step may be repeated: what a refused attempt has made is used by the next one.
    """
    application = form.text("application")
    if application == NEW:
        application = form.text("name")
        await make_application(visit, application, {})
    wish = {"plan": form.text("plan")}
    entry, plan, subscription = await asyncio.gather(
        visit.api.get(f"/catalogue/{model}", CatalogueEntry),
        visit.api.get(f"/plans/{wish['plan'] or '-'}", Plan),
        visit.api.put(f"/subscriptions/{application}/{model}", wish, Subscription),
    )
    key = await make_key(
        visit, {"application": application, "label": form.text("label")}, form.text("once")
    )
    return Taken(entry, application, subscription, plan, key)


async def make_key(visit: Visit, body: dict[str, object], once: str) -> NewKey:
    """Make a key, unless the same form has made one. Raises :class:`ApiRefusal`."""
    answer = await visit.api.call("POST", "/keys", body, headers={"idempotency-key": once or None})
    return NewKey.model_validate_json(answer.content)
