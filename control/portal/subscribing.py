"""The short way from a model to a key of one's own: what its form asks, and its three steps."""

import asyncio
import secrets
from typing import Final

import msgspec

from control.catalogue import CatalogueEntry
from control.plans import Plan
from control.portal.api import ApiRefusal, Tagged
from control.portal.applications import MANY, make_application, suggested_name
from control.portal.editing import WAS, Conditions, overtaken
from control.portal.forms import Form
from control.portal.session import Visit
from control.resources import Application, NewKey, Page, Subscription
from protocol.errors import Code, TollwayError
from protocol.problems import of_error

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

    @property
    def was(self) -> str:
        """The plans that the form shows, as JSON by application."""
        shown = {one.application: wished_plan(one) for one in self.subscriptions}
        return msgspec.json.encode(shown).decode()


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


def wished_plan(subscription: Subscription) -> str:
    """The plan that the subscription has, or asks for."""
    return subscription.requested_plan or subscription.plan


async def take(visit: Visit, model: str, form: Form) -> Taken:
    """Make the application if it is new, subscribe it, and make a key. Raises
    :class:`ApiRefusal`, with the form's field where it is about one.

    Each step may be repeated: what a refused attempt has made is used by the next one.
    """
    application = form.text("application")
    if application == NEW:
        application = form.text("name")
        await make_application(visit, application, {})
    entry, plan, subscription = await asyncio.gather(
        visit.api.get(f"/catalogue/{model}", CatalogueEntry),
        visit.api.get(f"/plans/{form.text('plan') or '-'}", Plan),
        _subscribe(visit, application, model, form),
    )
    key = await make_key(
        visit, {"application": application, "label": form.text("label")}, form.text("once")
    )
    return Taken(entry, application, subscription, plan, key)


async def _subscribe(visit: Visit, application: str, model: str, form: Form) -> Subscription:
    """Subscribe, or move to the plan chosen; not over a plan that the form has not shown."""
    path, plan = f"/subscriptions/{application}/{model}", form.text("plan")
    present = await _present(visit, path)
    if present is not None:
        now = wished_plan(present.item)
        if now not in (plan, _shown(form).get(application)):
            said = f"{application} has {model} under {now} by now: nothing was changed"
            raise ApiRefusal(of_error(TollwayError(Code.CONFLICT, said))).beside("plan")
    held = Conditions(if_none_match="*") if present is None else Conditions(if_match=present.etag)
    try:
        return await visit.api.put(path, {"plan": plan}, Subscription, **held)
    except ApiRefusal as refusal:
        raise overtaken(refusal, "the subscription") from None


async def _present(visit: Visit, path: str) -> Tagged[Subscription] | None:
    try:
        return await visit.api.get_tagged(path, Subscription)
    except ApiRefusal as refusal:
        if refusal.problem.code != Code.NOT_FOUND:
            raise
        return None


def _shown(form: Form) -> dict[str, str]:
    """The plans that the form has shown, by application."""
    try:
        return msgspec.json.decode(form.text(WAS), type=dict[str, str])
    except msgspec.DecodeError:
        return {}


async def make_key(visit: Visit, body: dict[str, object], once: str) -> NewKey:
    """Make a key, unless the same form has made one. Raises :class:`ApiRefusal`."""
    answer = await visit.api.call("POST", "/keys", body, headers={"idempotency-key": once or None})
    return NewKey.model_validate_json(answer.content)
