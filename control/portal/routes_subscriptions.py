"""Pages of subscribing: from a model to a key, and the subscriptions of an application."""

import asyncio
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import Response

from control.catalogue import CatalogueEntry
from control.plans import Plan
from control.portal.api import ApiRefusal
from control.portal.applications import MANY, read_subscriptions
from control.portal.editing import conditions, editing, overtaken, tag
from control.portal.forms import Form
from control.portal.refusals import login_path
from control.portal.rendering import page, redirect
from control.portal.session import Anybody, TheForm, Visit
from control.portal.subscribing import read_offer, take, wished_plan
from control.portal.visitors import Owner, Witness
from control.resources import Application, Page, Subscription
from control.routes_conventions import OWNERS
from control.usage_resources import QuotaUse

START_MODELS: Final = 6
LABELS: Final = {"plan": "Plan", "state": "State"}
Name = Annotated[str, Query(max_length=255)]


def subscription_pages() -> APIRouter:
    """``/portal/start``, ``/portal/subscribe`` and ``/portal/applications/A/subscriptions``."""
    router = APIRouter()
    _add_start(router)
    _add_subscribe(router)
    _add_subscriptions(router)
    return router


def _add_start(router: APIRouter) -> None:
    @router.get("/start")
    async def start_page(visit: Witness) -> Response:
        """Where somebody new begins: three steps, and models to choose from."""
        found = await visit.api.get("/catalogue", Page[CatalogueEntry], limit=START_MODELS)
        return page(visit, "applications/start.html", found=found)


def _add_subscribe(router: APIRouter) -> None:
    @router.get("/subscribe")
    async def subscribe_page(visit: Anybody, model: Name = "", plan: Name = "") -> Response:
        """The one form between a model and a key; who has no account makes one first."""
        if visit.me is None:
            if visit.services.settings.sign_up:
                way = "/portal/sign-up?" + urlencode({"next": visit.path})
                return redirect(visit, way)
            return redirect(visit, login_path(visit.path))
        if not model:
            return redirect(visit, "/portal/start")
        if not visit.may(*OWNERS):
            return page(visit, "applications/not_for_role.html", status=403)
        return await _form(visit, model, plan)

    @router.post("/subscribe")
    async def subscribe(visit: Owner, form: TheForm) -> Response:
        """Application, subscription and key in one go. The key is in this answer alone."""
        model = form.text("model")
        try:
            taken = await take(visit, model, form)
        except ApiRefusal as refusal:
            return await _form(visit, model, form.text("plan"), form, refusal)
        return page(visit, "applications/ready.html", taken=taken)


def _add_subscriptions(router: APIRouter) -> None:
    @router.get("/applications/{application}/subscriptions")
    async def subscriptions_page(visit: Witness, application: str) -> Response:
        """What an application may call, and what waits."""
        found, shown = await asyncio.gather(
            visit.api.get(f"/applications/{application}", Application),
            read_subscriptions(visit, application),
        )
        return page(visit, "applications/subscriptions.html", application=found, shown=shown)

    @router.get("/applications/{application}/subscriptions/{model}")
    async def subscription_page(visit: Witness, application: str, model: str) -> Response:
        """One subscription: its state, its plan, its quota."""
        return await _one(visit, application, model)

    @router.post("/applications/{application}/subscriptions/{model}")
    async def change_plan(visit: Owner, form: TheForm, application: str, model: str) -> Response:
        """Move to another plan, at once or when the publisher agrees."""
        path = f"/subscriptions/{application}/{model}"
        try:
            changed = await visit.api.put(
                path, {"plan": form.text("plan")}, Subscription, **conditions(form)
            )
        except ApiRefusal as refusal:
            return await _one(visit, application, model, form, refusal.beside("plan"))
        waits = changed.requested_plan is not None or changed.state == "pending"
        said = "waits for the publisher's approval" if waits else "holds from now on"
        return redirect(
            visit,
            f"/portal/applications/{application}/subscriptions/{model}",
            notice=f"The plan {changed.requested_plan or changed.plan} {said}.",
        )

    @router.post("/applications/{application}/subscriptions/{model}/cancel")
    async def cancel(visit: Owner, form: TheForm, application: str, model: str) -> Response:
        """End a subscription."""
        try:
            await visit.api.delete(f"/subscriptions/{application}/{model}", if_match=tag(form))
        except ApiRefusal as refusal:
            told = overtaken(refusal, "the subscription")
            return await _one(visit, application, model, refusal=told)
        way = f"/portal/applications/{application}/subscriptions"
        return redirect(visit, way, notice=f"The subscription to {model} has ended.")


async def _one(
    visit: Visit,
    application: str,
    model: str,
    form: Form | None = None,
    refusal: ApiRefusal | None = None,
) -> Response:
    found, (subscription, etag), quotas, plans = await asyncio.gather(
        visit.api.get(f"/applications/{application}", Application),
        visit.api.get_tagged(f"/subscriptions/{application}/{model}", Subscription),
        visit.api.get("/quotas", Page[QuotaUse], application=application, model=model),
        visit.api.get("/plans", Page[Plan], limit=MANY),
    )
    present = {"plan": wished_plan(subscription), "state": _state(subscription)}
    given = None if form is None else {"plan": form.text("plan")}
    return page(
        visit,
        "applications/subscription.html",
        status=200 if refusal is None else refusal.status,
        application=found,
        subscription=subscription,
        quota=quotas.items[0] if quotas.items else None,
        plans=plans.items,
        edit=editing(LABELS, present, etag, form, refusal, given),
        refusal=refusal,
    )


def _state(subscription: Subscription) -> str:
    """In words, what a change of the plan begins from."""
    if subscription.requested_plan is None:
        return subscription.state
    return f"{subscription.state} under {subscription.plan}; {subscription.requested_plan} waits"


async def _form(
    visit: Visit,
    model: str,
    plan: str,
    form: Form | None = None,
    refusal: ApiRefusal | None = None,
) -> Response:
    offer = await read_offer(visit, model)
    known = {one.name for one in offer.plans}
    return page(
        visit,
        "applications/subscribe.html",
        status=200 if refusal is None else refusal.status,
        offer=offer,
        plan=plan if plan in known else (offer.plans[0].name if offer.plans else ""),
        values={} if form is None else form.values(),
        refusal=refusal,
    )
