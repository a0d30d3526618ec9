"""Pages of what an application has used, and what that costs."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from control.portal.live import live
from control.portal.rendering import page
from control.portal.streams import Event
from control.portal.usage import (
    RANGES,
    Range,
    Wish,
    read_steps,
    read_usage,
    requests_chart,
)
from control.portal.visitors import After, Witness
from control.resources import Application, Consumer, Page
from control.usage_resources import Statement

PAGE_MONTHS = 60
Asked = Annotated[Range, Query(alias="range")]
Model = Annotated[str, Query(max_length=63)]
Key = Annotated[str, Query(max_length=32)]
LIVE_S = 5.0


def usage_pages() -> APIRouter:
    """``/portal/applications/A/usage`` and ``/portal/applications/A/statements``."""
    router = APIRouter(prefix="/applications/{application}")
    _add_usage(router)
    _add_statements(router)
    return router


def _add_usage(router: APIRouter) -> None:
    @router.get("/usage")
    async def usage_page(
        visit: Witness, application: str, asked: Asked = "24h", model: Model = "", key: Key = ""
    ) -> Response:
        """Requests, errors, latency, quota and cost over a range."""
        wish = Wish(application, asked, model, key)
        return page(
            visit,
            "applications/usage.html",
            shown=await read_usage(visit, wish),
            wish=wish,
            ranges=[(name, span.label) for name, span in RANGES.items()],
        )

    @router.get("/usage.csv")
    async def usage_table(
        visit: Witness, application: str, asked: Asked = "24h", model: Model = "", key: Key = ""
    ) -> Response:
        """The same as a table to work with, by step, model, version and status."""
        await visit.api.get(f"/applications/{application}", Application)  # or there is none
        wish = Wish(application, asked, model, key)
        query = {
            **wish.query(visit.now_ms),
            "step": wish.span.step,
            "by": "model,version,status",
            "format": "csv",
        }
        answer = await visit.api.call("GET", "/usage", query=query)
        return _download(answer.content, f"{application}-usage-{asked}")

    @router.get("/usage/events")
    async def usage_events(
        visit: Witness, application: str, asked: Asked = "1h", model: Model = "", key: Key = ""
    ) -> Response:
        """The chart of requests, as it grows."""
        await visit.api.get(f"/applications/{application}", Application)  # or there is none
        wish = Wish(application, asked, model, key)

        async def look() -> list[Event]:
            now = visit.now_ms
            steps = await read_steps(visit, wish, now)
            return [Event("data", requests_chart(steps, wish.times(now)))]

        return live(visit, look, every_s=LIVE_S)


def _add_statements(router: APIRouter) -> None:
    @router.get("/statements")
    async def statements_page(visit: Witness, application: str, after: After = "") -> Response:
        """The months of which there is a statement."""
        path = f"/applications/{application}"
        found, months = await asyncio.gather(
            visit.api.get(path, Application),
            visit.api.get(f"{path}/statements", Page[str], limit=PAGE_MONTHS, after=after or None),
        )
        return page(
            visit, "applications/statements.html", application=found, months=months, after=after
        )

    @router.get("/statements/{month}.csv")
    async def statement_table(visit: Witness, application: str, month: str) -> Response:
        """A statement as a table to work with."""
        answer = await visit.api.call(
            "GET", f"/applications/{application}/statements/{month}", query={"format": "csv"}
        )
        return _download(answer.content, f"{application}-{month}")

    @router.get("/statements/{month}")
    async def statement_page(visit: Witness, application: str, month: str) -> Response:
        """A statement, to read and to print."""
        path = f"/applications/{application}"
        found, statement = await asyncio.gather(
            visit.api.get(path, Application),
            visit.api.get(f"{path}/statements/{month}", Statement),
        )
        consumer = await visit.api.get(f"/consumers/{found.consumer}", Consumer)
        return page(
            visit,
            "applications/statement.html",
            application=found,
            consumer=consumer,
            statement=statement,
        )


def _download(content: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(content, media_type="text/csv", headers=headers)
