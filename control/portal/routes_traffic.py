"""Pages of traffic and latency, and of limits that were hit."""

import asyncio
from typing import Annotated, Final, NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from control.latency_report import LatencyReport
from control.portal.api import ApiRefusal
from control.portal.live import live
from control.portal.rendering import page
from control.portal.session import Visit
from control.portal.spans import SPANS, Span, span_of
from control.portal.streams import Event
from control.portal.traffic_view import (
    by_status,
    heat_map,
    latency_chart,
    most_failing,
    refusals_chart,
    requests_chart,
    slowest,
    totals,
)
from control.portal.visitors import Inspector
from control.refusals import LIMITS, RefusalReport
from control.resources import Page
from control.usage_resources import QuotaUse, UsagePage

Text = Annotated[str, Query(max_length=63)]
COLUMNS: Final = 120
MOST_VERSIONS: Final = 2_000
NEAR: Final = 80
_LIVE_S: Final = 15.0


class Wanted(NamedTuple):
    """What the page is about. Empty: everything."""

    span: Span
    model: str
    version: str
    application: str

    @property
    def here(self) -> str:
        """The query of the page's address."""
        fields = (
            ("span", self.span.key),
            ("model", self.model),
            ("version", self.version),
            ("application", self.application),
        )
        return urlencode({name: value for name, value in fields if value})

    def asked(self, visit: Visit) -> dict[str, str]:
        """The same for the API."""
        found = {"from": self.span.begin(visit.now_ms)}
        for name in ("model", "version", "application"):
            if value := getattr(self, name):
                found[name] = value
        return found


async def _wanted(
    span: Text = "", model: Text = "", version: Text = "", application: Text = ""
) -> Wanted:
    return Wanted(span_of(span), model.strip(), version.strip(), application.strip())


TheWanted = Annotated[Wanted, Depends(_wanted)]


def traffic_pages() -> APIRouter:
    """``/portal/operate/traffic`` and ``/portal/operate/limits``."""
    router = APIRouter(prefix="/operate")
    _add_traffic(router)
    _add_limits(router)
    return router


def _add_traffic(router: APIRouter) -> None:
    @router.get("/traffic")
    async def traffic_page(visit: Inspector, wanted: TheWanted) -> Response:
        """Requests, errors and latency over time."""
        asked = wanted.asked(visit)
        try:
            report, statuses = await asyncio.gather(
                visit.api.get("/usage/latency", LatencyReport, **asked, columns=COLUMNS),
                visit.api.get("/usage", UsagePage, **asked, by="status"),
            )
        except ApiRefusal as refusal:
            if refusal.status != 422:  # noqa: PLR2004 -- a filter that is none
                raise
            return page(
                visit,
                "operate/traffic.html",
                status=422,
                wanted=wanted,
                spans=SPANS,
                refusal=refusal,
                report=None,
            )
        return page(
            visit,
            "operate/traffic.html",
            wanted=wanted,
            spans=SPANS,
            refusal=None,
            report=report,
            totals=totals(report),
            requests=requests_chart(report),
            latency=latency_chart(report),
            heat=heat_map(report),
            statuses=by_status(statuses.items),
        )

    @router.get("/traffic/events")
    async def traffic_events(visit: Inspector, wanted: TheWanted) -> Response:
        """The heat map as it grows."""

        async def look() -> list[Event]:
            report = await visit.api.get(
                "/usage/latency", LatencyReport, **wanted.asked(visit), columns=COLUMNS
            )
            return [Event("data", heat_map(report))]

        return live(visit, look, every_s=_LIVE_S)

    @router.get("/traffic/versions")
    async def worst_versions(visit: Inspector, wanted: TheWanted) -> Response:
        """The slowest and the most failing versions: a part of the page."""
        found = await visit.api.get(
            "/usage", UsagePage, **wanted.asked(visit), by="model,version", limit=MOST_VERSIONS
        )
        return page(
            visit,
            "operate/traffic_versions.html",
            wanted=wanted,
            slowest=slowest(found.items),
            failing=most_failing(found.items),
            partial=found.next is not None,
        )


def _add_limits(router: APIRouter) -> None:
    @router.get("/limits")
    async def limits_page(visit: Inspector, wanted: TheWanted) -> Response:
        """Who was refused by which limit, and whose quota is near its end."""
        asked = {name: value for name, value in wanted.asked(visit).items() if name != "version"}
        only = {name: value for name, value in asked.items() if name != "from"}
        report, quotas = await asyncio.gather(
            visit.api.get("/usage/refusals", RefusalReport, **asked, columns=COLUMNS),
            visit.api.get("/quotas", Page[QuotaUse], **only, reached=NEAR, limit=50),
        )
        sums = {name: sum(getattr(one, name) for one in report.items) for name in LIMITS}
        return page(
            visit,
            "operate/limits.html",
            wanted=wanted,
            spans=SPANS,
            report=report,
            chart=refusals_chart(report),
            sums=sums,
            quotas=quotas,
        )
