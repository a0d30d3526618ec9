"""Routes of what publishers see of their models."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from control.middleware import require
from control.publishing import PublishedModel, PublishedVersionItem
from control.resources import Page
from control.routes_catalogue import Search
from control.routes_conventions import After, errors
from control.routes_parts import part
from control.services import Services
from registry.access import EVIDENCE_READERS, Actor
from registry.routes_parameters import AfterNumber, Model
from registry.routes_permissions import managing

Few = Annotated[int, Query(ge=1, le=100, description="Items on the page.")]
Reader = Annotated[Actor, Depends(require(*EVIDENCE_READERS))]


def publishing_router() -> APIRouter:
    """``/publishing`` and ``/publishing/{model}/versions``."""
    router = APIRouter(tags=["models"])
    manager = Annotated[Actor, Depends(managing(require, *EVIDENCE_READERS))]
    services = Annotated[Services, Depends(part(lambda services: services))]

    @router.get("/publishing", responses=errors(422))
    def list_publishing(
        parts: services, actor: Reader, search: Search = "", limit: Few = 25, after: After = ""
    ) -> Page[PublishedModel]:
        """List the models that one manages: which versions answer, how they are called, and what
        waits: a gate, an approval, a sunset."""
        found = parts.publishing.page(actor.models, search, after, limit + 1)
        page = Page[PublishedModel].of(found, limit, lambda model: model.name)
        called = parts.latencies.all()
        items = [
            model.model_copy(update={"latency": called.get(model.name)}) for model in page.items
        ]
        return Page(items=items, next=page.next)

    @router.get("/publishing/{model}/versions", responses=errors(403, 404, 422))
    def list_published_versions(
        parts: services, model: Model, _actor: manager, limit: Few = 25, after: AfterNumber = 0
    ) -> Page[PublishedVersionItem]:
        """List a model's versions, the newest first, with what one compares them by: state, size,
        quality, and whether each passes its gate."""
        found = parts.publishing.versions(model, after, limit + 1)
        return Page[PublishedVersionItem].of(found, limit, lambda one: str(one.number))

    return router
