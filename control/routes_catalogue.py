"""Routes of the catalogue."""

from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Depends, Path, Query

from control.catalogue import CatalogueEntry, CataloguePage, LatencySeries, Span
from control.catalogue_detail import CatalogueModel
from control.catalogue_search import Sort, Wish, select
from control.middleware import require
from control.routes_conventions import After, Limit, errors
from control.routes_parts import part
from control.services import Services
from protocol.manifest import Task
from registry.access import EVERYONE
from registry.status import ServingState

Search = Annotated[
    str,
    Query(
        max_length=200,
        description="Words that are all in the name, title, description, owner's title, classes, "
        "outputs or columns.",
    ),
]
Name = Annotated[str, Path(max_length=255)]
Entry = TypeVar("Entry", bound=CatalogueEntry)
TheServices = Annotated[Services, Depends(part(lambda services: services))]


def catalogue_router() -> APIRouter:
    """``/catalogue``: for everybody with a login, and for everybody where the installation says
    so (``TOLLWAY_PUBLIC_CATALOGUE``)."""
    router = APIRouter(tags=["catalogue"], dependencies=[Depends(require(*EVERYONE))])
    _add_list(router)

    @router.get("/catalogue/{model}", responses=errors(404))
    def get_catalogue_entry(
        parts: TheServices,
        model: Name,
        version: Annotated[
            int | None, Query(ge=1, le=1 << 31, description="Left out: the one that answers.")
        ] = None,
    ) -> CatalogueModel:
        """Read all that the catalogue says of one model: what it takes and gives, how well it
        does, what it has to fulfil, and its versions."""
        return _told(parts, parts.catalogue.model(model, version))

    @router.get("/catalogue/{model}/latency", responses=errors(404, 422))
    def get_catalogue_latency(
        parts: TheServices,
        model: Name,
        span: Annotated[
            Span, Query(description="By minute, by hour, or by day for the last 30 days.")
        ] = "day",
    ) -> LatencySeries:
        """Read how fast the model answered everybody lately."""
        parts.catalogue.check(model)
        return parts.latencies.series(model, span)

    return router


def _add_list(router: APIRouter) -> None:
    @router.get("/catalogue", responses=errors(422))
    def list_catalogue(
        parts: TheServices,
        search: Search = "",
        task: Annotated[Task | None, Query(description="Only of this task.")] = None,
        state: Annotated[
            Literal["published", "deprecated"] | None,
            Query(description="Only those whose version is in this state."),
        ] = None,
        owner: Annotated[
            str | None, Query(max_length=200, description="Only of the owner with this title.")
        ] = None,
        serving: Annotated[
            ServingState | None, Query(description="Only those that workers serve like this.")
        ] = None,
        evaluated: Annotated[
            bool | None, Query(description="Only those with an evaluation, or without.")
        ] = None,
        p99_ms: Annotated[
            float | None, Query(gt=0, le=1e9, description="Only those at least this fast lately.")
        ] = None,
        sort: Annotated[Sort, Query(description="By name, or best first.")] = "name",
        limit: Limit = 100,
        after: After = "",
    ) -> CataloguePage:
        """List the models that may be called: what they predict, how well and how fast; and what
        one may filter by."""
        wish = Wish(
            search=search,
            task=task,
            state=state,
            owner=owner,
            serving=serving,
            evaluated=evaluated,
            p99_ms=p99_ms,
            sort=sort,
        )
        found = select(
            parts.catalogue.listings(),
            wish,
            parts.latencies.all(),
            lambda name, version: parts.workers.status(name, version).state,
        )
        listings, following = found.page(after, limit, sort)
        return CataloguePage(
            items=[_told(parts, entry) for entry in parts.catalogue.entries(listings)],
            next=following,
            total=len(found.listings),
            choices=found.choices,
        )


def _told(parts: Services, entry: Entry) -> Entry:
    """With what gateways and workers report."""
    status = parts.workers.status(entry.name, entry.version)
    latency = parts.latencies.all().get(entry.name)
    return entry.model_copy(update={"serving": status.state, "latency": latency})
