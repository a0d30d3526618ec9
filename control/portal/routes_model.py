"""A model's page, what of it moves, and its OpenAPI documents."""

import asyncio
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from control.catalogue import LatencySeries, Span
from control.catalogue_detail import CatalogueModel
from control.plans import Plan
from control.portal import catalogue
from control.portal.api import ApiRefusal
from control.portal.catalogue import Standing
from control.portal.latency_chart import latency_chart
from control.portal.live import live
from control.portal.rendering import page
from control.portal.served_at import served_at
from control.portal.session import Anybody, LoginNeeded, Visit
from control.portal.streams import Event
from control.portal.try_form import TryForm, try_form
from control.resources import Application, Key, Page, Subscription
from protocol.errors import Code
from protocol.model_openapi import document
from registry.clock import rfc3339
from registry.outputs import ModelOutput

Version = Annotated[int | None, Query(ge=1, le=1 << 31)]
LIVE_S = 5.0
MOST = 200


def model_pages() -> APIRouter:
    """``/portal/models/{model}`` and below."""
    router = APIRouter()

    @router.get("/models/{model}")
    async def model_page(visit: Anybody, model: str, version: Version = None) -> Response:
        """One model, for whoever wants to call it."""
        shown = await read_model(visit, model, version)
        if isinstance(shown, ModelOutput):
            return page(visit, "catalogue/unpublished.html", model=shown)
        named = version is not None
        return page(
            visit,
            "catalogue/model.html",
            model=shown.model,
            plans=shown.plans,
            standing=shown.standing,
            form=shown.form,
            version=version,
            base=f"/portal/models/{model}",
            asked=f"?version={version}" if version else "",
            inputs=catalogue.inputs_shown(shown.model),
            outputs=catalogue.outputs_shown(shown.model),
            criteria=catalogue.criteria_shown(shown.model),
            samples=catalogue.samples_shown(
                shown.model, served_at(visit), named=named, key=shown.standing.key
            ),
        )

    _add_latency(router)
    _add_openapi(router)
    return router


def _add_latency(router: APIRouter) -> None:
    @router.get("/models/{model}/latency.json")
    async def latency_data(visit: Anybody, model: str, span: Span = "hour") -> Response:
        """The latency for the page's charts."""
        series = await visit.api.get(f"/catalogue/{model}/latency", LatencySeries, span=span)
        return JSONResponse(latency_chart(series))

    @router.get("/models/{model}/latency/events")
    async def latency_events(visit: Anybody, model: str) -> Response:
        """The last hour as it goes on."""

        await read_entry(visit, model, None)

        async def look() -> list[Event]:
            series = await visit.api.get(f"/catalogue/{model}/latency", LatencySeries, span="hour")
            return [Event("data", latency_chart(series))]

        return live(visit, look, every_s=LIVE_S)


def _add_openapi(router: APIRouter) -> None:
    @router.get("/models/{model}/openapi.json")
    async def openapi(visit: Anybody, model: str, version: Version = None) -> Response:
        """The document of a version, to keep; without one, of the version that answers."""
        found = await read_entry(visit, model, version)
        name = f"{found.name}-{'v' + str(version) if version else 'stable'}.openapi.json"
        return JSONResponse(
            model_document(visit, found, named=version is not None),
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


class ModelShown(NamedTuple):
    """What a model's pages show."""

    model: CatalogueModel
    plans: list[Plan]
    standing: Standing
    form: TryForm


async def read_model(visit: Visit, model: str, version: int | None) -> ModelShown | ModelOutput:
    """What the API says of a model to this visitor; of one that may not be called yet, to those who
    manage it, what there is."""
    try:
        entry, plans, standing = await asyncio.gather(
            read_entry(visit, model, version),
            visit.api.get("/plans", Page[Plan], limit=100),
            standing_in(visit, model),
        )
    except ApiRefusal as refusal:
        if refusal.problem.code != Code.MODEL_NOT_FOUND or visit.me is None:
            raise
        return await visit.api.get(f"/models/{model}", ModelOutput)
    form = try_form(entry, version)
    return ModelShown(entry, sorted(plans.items, key=lambda plan: plan.name), standing, form)


async def read_entry(visit: Visit, model: str, version: int | None) -> CatalogueModel:
    """What the catalogue says; who may not read it without a login is asked to log in."""
    try:
        return await visit.api.get(f"/catalogue/{model}", CatalogueModel, version=version)
    except ApiRefusal as refusal:
        if refusal.problem.code == Code.UNAUTHENTICATED:
            raise LoginNeeded from None
        raise


def model_document(visit: Visit, model: CatalogueModel, *, named: bool) -> dict[str, object]:
    """The OpenAPI document of the version that is shown."""
    return document(
        catalogue.manifest_of(model),
        number=model.shown.number,
        digest=model.digest,
        state=model.shown.state,
        url=served_at(visit),
        named=named,
        contract=catalogue.contract_of(model),
        deprecation=catalogue.deprecation_of(model),
    )


async def standing_in(visit: Visit, model: str) -> Standing:
    """How the visitor stands to the model: their applications' subscriptions, and a key of
    theirs."""
    consumer = None if visit.me is None else visit.me.consumer
    if consumer is None:
        return Standing()
    applications, subscriptions, keys = await asyncio.gather(
        visit.api.get("/applications", Page[Application], consumer=consumer, limit=MOST),
        visit.api.get("/subscriptions", Page[Subscription], model=model, limit=MOST),
        visit.api.get("/keys", Page[Key], limit=MOST),
    )
    own = {one.name for one in applications.items}
    now = rfc3339(visit.now_ms)
    return catalogue.standing_of(
        model, [one for one in subscriptions.items if one.application in own], keys.items, now
    )
