"""The operator's overview: is everything well? It moves by itself."""

import asyncio
from itertools import count
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from control.latency_report import LatencyReport
from control.portal.live import live
from control.portal.operate_view import Overview, overview
from control.portal.rendering import page, rendered
from control.portal.session import Visit
from control.portal.spans import SPANS
from control.portal.streams import Event
from control.portal.traffic_view import requests_chart, totals
from control.portal.visitors import Inspector
from control.refusals import RefusalReport
from control.resources import Page
from control.routes_audit import AuditItem, VerificationItem
from control.routes_observation import AlertItem, GatewayItem, WorkerItem
from control.usage_resources import QuotaUse

COLUMNS: Final = 61
"""A minute each."""
PAST_ALERTS: Final = 20
_LOOK_S: Final = 3.0
_LOOKS_A_CHART: Final = 4
_PARTS: Final = ("findings", "gateways", "workers")


def operate_pages() -> APIRouter:
    """``/portal/operate``."""
    router = APIRouter(prefix="/operate")

    @router.get("")
    async def overview_page(visit: Inspector) -> Response:
        """Everything at a glance."""
        seen, hour, refused, past = await asyncio.gather(
            _look(visit),
            _hour(visit),
            visit.api.get("/usage/refusals", RefusalReport, **_from(visit), columns=12),
            visit.api.get("/audit", Page[AuditItem], action="alert.ended", limit=PAST_ALERTS),
        )
        return page(
            visit,
            "operate/overview.html",
            seen=seen,
            totals=totals(hour),
            chart=requests_chart(hour),
            refused=refused,
            past=past.items,
        )

    @router.get("/events")
    async def overview_events(visit: Inspector) -> Response:
        """What has changed of it, and of the traffic of the last hour, which is drawn minute by
        minute and looked at less often."""
        looks = count()

        async def look() -> list[Event]:
            seen = await _look(visit)
            found = [
                Event(name, rendered(visit, f"operate/overview_{name}.html", seen=seen))
                for name in _PARTS
            ]
            if next(looks) % _LOOKS_A_CHART == 0:
                found.append(Event("data", requests_chart(await _hour(visit))))
            return found

        return live(visit, look, every_s=_LOOK_S)

    return router


async def _look(visit: Visit) -> Overview:
    gateways, workers, alerts, standing, quotas = await asyncio.gather(
        visit.api.get("/gateways", Page[GatewayItem]),
        visit.api.get("/workers", Page[WorkerItem]),
        visit.api.get("/alerts", Page[AlertItem]),
        visit.api.get("/audit/verify", VerificationItem),
        visit.api.get("/quotas", Page[QuotaUse], reached=100, limit=20),
    )
    return overview(gateways.items, workers.items, alerts.items, standing, quotas.items)


async def _hour(visit: Visit) -> LatencyReport:
    return await visit.api.get("/usage/latency", LatencyReport, **_from(visit), columns=COLUMNS)


def _from(visit: Visit) -> dict[str, str]:
    return {"from": SPANS[0].begin(visit.now_ms)}
