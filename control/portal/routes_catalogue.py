"""The front page: the catalogue with its search and filters."""

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response

from control.catalogue import CataloguePage
from control.plans import Plan
from control.portal.api import ApiRefusal
from control.portal.catalogue import Filters
from control.portal.rendering import page
from control.portal.session import Anybody, Visit
from control.resources import Page
from protocol.errors import Code

PAGE_MODELS = 24
_Word = Annotated[str, Query(max_length=200)]
_Place = Annotated[str, Query(max_length=255)]


def catalogue_pages() -> APIRouter:
    """``/portal``."""
    router = APIRouter()

    @router.get("")
    async def front_page(
        visit: Anybody,
        q: _Word = "",
        task: _Word = "",
        state: _Word = "",
        owner: _Word = "",
        ready: _Word = "",
        evaluated: _Word = "",
        p99: _Word = "",
        sort: _Word = "",
        view: _Word = "",
        after: _Place = "",
    ) -> Response:
        """The catalogue."""
        filters = Filters(
            q=q.strip(),
            task=task,
            state=state,
            owner=owner,
            ready=ready,
            evaluated=evaluated,
            p99=p99,
            sort=sort,
            view=view,
            after=after,
        )
        return await _front(visit, filters)

    return router


async def _front(visit: Visit, filters: Filters) -> Response:
    try:
        found, plans = await asyncio.gather(
            visit.api.get("/catalogue", CataloguePage, limit=PAGE_MODELS, **filters.query()),
            visit.api.get("/plans", Page[Plan], limit=100),
        )
    except ApiRefusal as refusal:
        if refusal.problem.code == Code.UNAUTHENTICATED and visit.me is None:
            return page(
                visit, "catalogue/closed.html", sign_up_open=visit.services.settings.sign_up
            )
        if refusal.status != 422 or not filters.any:  # noqa: PLR2004
            raise
        # A filter that was typed into the address: the search stays, the rest is let go of.
        return await _front(visit, Filters(q=filters.q))
    template = "catalogue/results.html" if visit.is_htmx else "catalogue/front.html"
    return page(
        visit,
        template,
        found=found,
        plans=sorted(plans.items, key=_price),
        filters=filters,
        asked=msgspec.structs.asdict(filters),
        sign_up_open=visit.services.settings.sign_up,
    )


def _price(plan: Plan) -> tuple[float, str]:
    price = plan.price_per_thousand
    return (0.0 if price is None else float(price.amount), plan.name)
