"""Pages of subscribing: from a model to a key, and the subscriptions of an application."""

from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import Response

from control.catalogue import CatalogueEntry
from control.portal.api import ApiRefusal
from control.portal.applications import Owner, Reader
from control.portal.forms import Form
from control.portal.refusals import login_path
from control.portal.rendering import page, redirect
from control.portal.session import Anybody, TheForm, Visit
from control.portal.subscribing import read_offer, take
from control.resources import Page
from control.routes_conventions import OWNERS
from control.services import Services

START_MODELS: Final = 6
Name = Annotated[str, Query(max_length=255)]


def subscription_pages() -> APIRouter:
    """``/portal/start``, ``/portal/subscribe`` and ``/portal/applications/A/subscriptions``."""
    router = APIRouter()
    _add_start(router)
    _add_subscribe(router)
    return router


def _add_start(router: APIRouter) -> None:
    @router.get("/start")
    async def start_page(visit: Reader) -> Response:
        """Where somebody new begins: three steps, and models to choose from."""
        found = await visit.api.get("/catalogue", Page[CatalogueEntry], limit=START_MODELS)
        return page(visit, "applications/start.html", found=found)


def _add_subscribe(router: APIRouter) -> None:
    @router.get("/subscribe")
    async def subscribe_page(visit: Anybody, model: Name = "", plan: Name = "") -> Response:
        """The one form between a model and a key; who has no account makes one first."""
        if visit.me is None:
            services: Services = visit.request.app.state.services
            if services.settings.sign_up:
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
