"""Pages of the catalogue: the front page, and a page for each model."""

import asyncio
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query
from fastapi.responses import Response

from control.catalogue import CatalogueEntry
from control.plans import Plan
from control.portal.api import ApiRefusal
from control.portal.rendering import page
from control.portal.session import Anybody, LoginNeeded, Visit
from control.resources import Page
from protocol.errors import Code
from registry.outputs import ModelOutput, VersionOutput
from registry.outputs import Page as RegistryPage

PAGE_MODELS = 24
Search = Annotated[str, Query(alias="q", max_length=200)]
After = Annotated[str, Query(max_length=255)]


def catalogue_pages() -> APIRouter:
    """``/portal`` and ``/portal/models/{model}``."""
    router = APIRouter()

    @router.get("")
    async def front_page(visit: Anybody, search: Search = "", after: After = "") -> Response:
        """The catalogue, with its search."""
        try:
            found = await visit.api.get(
                "/catalogue",
                Page[CatalogueEntry],
                search=search or None,
                limit=PAGE_MODELS,
                after=after or None,
            )
        except ApiRefusal as refusal:
            if refusal.problem.code != Code.UNAUTHENTICATED or visit.me is not None:
                raise
            return page(visit, "catalogue/closed.html")
        template = "catalogue/list.html" if visit.is_htmx else "catalogue/front.html"
        return page(visit, template, found=found, search=search, after=after)

    @router.get("/models/{model}")
    async def model_page(visit: Anybody, model: str) -> Response:
        """One model, for whoever wants to call it."""
        shown = await read_model(visit, model)
        return page(
            visit,
            "catalogue/model.html",
            model=shown.model,
            entry=shown.entry,
            versions=shown.versions,
            shown=shown.version,
            plans=shown.plans,
        )

    return router


class ModelShown(NamedTuple):
    """What the sections of a model's page show."""

    model: ModelOutput
    entry: CatalogueEntry | None
    """None: it may not be called yet."""
    version: VersionOutput | None
    """The version that a call without one gets."""
    versions: list[VersionOutput]
    plans: list[Plan]


async def read_model(visit: Visit, model: str) -> ModelShown:
    """What the API says of a model to this visitor."""
    try:
        known, entry, versions, plans = await asyncio.gather(
            visit.api.get(f"/models/{model}", ModelOutput),
            _entry(visit, model),
            visit.api.get(f"/models/{model}/versions", RegistryPage[VersionOutput], limit=100),
            visit.api.get("/plans", Page[Plan], limit=100),
        )
    except ApiRefusal as refusal:
        if refusal.problem.code == Code.UNAUTHENTICATED:
            raise LoginNeeded from None
        raise
    number = known.latest if entry is None else entry.version
    shown = next((one for one in versions.items if one.number == number), None)
    return ModelShown(known, entry, shown, versions.items, plans.items)


async def _entry(visit: Visit, model: str) -> CatalogueEntry | None:
    """What the catalogue says; None of a model that may not be called yet."""
    try:
        return await visit.api.get(f"/catalogue/{model}", CatalogueEntry)
    except ApiRefusal as refusal:
        if refusal.problem.code == Code.MODEL_NOT_FOUND:
            return None
        raise
