"""Routes of the catalogue."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from control.catalogue import CatalogueEntry
from control.middleware import require
from control.resources import Page
from control.routes_conventions import After, Limit, errors
from control.routes_parts import part
from control.services import Services
from registry.access import EVERYONE

Search = Annotated[
    str,
    Query(
        max_length=200,
        description="Words that are all in the name, title, description or owner.",
    ),
]


def catalogue_router() -> APIRouter:
    """``/catalogue``: for everybody with a login, and for everybody where the installation says
    so (``TOLLWAY_PUBLIC_CATALOGUE``)."""
    router = APIRouter(tags=["catalogue"], dependencies=[Depends(require(*EVERYONE))])
    services = Annotated[Services, Depends(part(lambda services: services))]

    @router.get("/catalogue", responses=errors(422))
    def list_catalogue(
        parts: services, search: Search = "", limit: Limit = 100, after: After = ""
    ) -> Page[CatalogueEntry]:
        """List the models that may be called: what they predict, how well and how fast."""
        found = parts.catalogue.page(search, after, limit + 1)
        page = Page[CatalogueEntry].of(found, limit, lambda entry: entry.name)
        return Page(items=[_told(parts, entry) for entry in page.items], next=page.next)

    @router.get("/catalogue/{model}", responses=errors(404))
    def get_catalogue_entry(parts: services, model: str) -> CatalogueEntry:
        """Read what the catalogue says of one model."""
        return _told(parts, parts.catalogue.get(model))

    return router


def _told(parts: Services, entry: CatalogueEntry) -> CatalogueEntry:
    """With what gateways and workers report."""
    status = parts.workers.status(entry.name, entry.version)
    latency = parts.latencies.all().get(entry.name)
    return entry.model_copy(update={"serving": status.state, "latency": latency})
