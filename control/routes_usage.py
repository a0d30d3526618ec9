"""Routes of usage: reports, quotas, statements."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Query, Response
from starlette.responses import StreamingResponse

from control import csv_text
from control.latency_report import DEFAULT_COLUMNS, MAX_COLUMNS, LatencyReport
from control.middleware import require
from control.reach import reach_of
from control.refusals import RefusalReport
from control.resources import Moment, Page
from control.routes_conventions import After, Limit, errors
from control.routes_parts import part
from control.store.quotas import Quotas
from control.store.refusals import Refusals
from control.store.statements import Statements
from control.store.usage_reading import PAGE_ITEMS, UsageReports
from control.usage_report import UsageQuery, parse_query
from control.usage_resources import QuotaUse, Statement, StatementLine, UsageItem, UsagePage
from control.usage_tiers import Dimension, Step
from registry.access import EVERYONE, Actor
from registry.clock import Clock

_FIGURES: Final = (
    "requests",
    "rows",
    "errors",
    "p50_ms",
    "p99_ms",
    "compute_ms",
    "queue_ms",
    "bytes_in",
    "bytes_out",
)
Format = Annotated[
    Literal["json", "csv"] | None,
    Query(description="`csv`: the whole as CSV; left out: what `Accept` prefers, else JSON."),
]
Accept = Annotated[str, Header(include_in_schema=False)]
From = Annotated[
    Moment | None,
    Query(alias="from", description="Begin (RFC 3339); left out: 24 hours before `to`."),
]
To = Annotated[Moment | None, Query(description="End; left out: now.")]
OfApplication = Annotated[str | None, Query(max_length=63, description="Only of this.")]
OfModel = Annotated[str | None, Query(max_length=63, description="Only of this model.")]
OfVersion = Annotated[
    int | None, Query(ge=0, lt=1 << 31, description="Only of this version; 0: of none.")
]
Columns = Annotated[int, Query(ge=1, le=MAX_COLUMNS, description="Columns of the range, at most.")]
Reader = Annotated[Actor, Depends(require(*EVERYONE))]
"""Each reads as far as they reach applications and models."""


def _with_csv(*statuses: int) -> dict[int | str, dict[str, Any]]:
    table = {"schema": {"type": "string"}}
    return {200: {"content": {csv_text.MEDIA_TYPE: table}}, **errors(*statuses)}


TheReports = Annotated[UsageReports, Depends(part(lambda services: services.usage.reports))]
TheRefusals = Annotated[Refusals, Depends(part(lambda services: services.usage.refusals))]
TheStatements = Annotated[Statements, Depends(part(lambda services: services.usage.statements))]
TheQuotas = Annotated[Quotas, Depends(part(lambda services: services.usage.quotas))]
TheClock = Annotated[Clock, Depends(part(lambda services: services.clock))]


def usage_router() -> APIRouter:
    """``/usage``."""
    router = APIRouter(tags=["usage"])

    @router.get(
        "/usage",
        responses=_with_csv(422),
        response_model=UsagePage,
    )
    def get_usage(
        clock: TheClock,
        reports: TheReports,
        actor: Reader,
        start: From = None,
        to: To = None,
        by: Annotated[
            str,
            Query(description="Any of `application,key,model,version,variant,status`, by commas."),
        ] = "",
        step: Annotated[Step | None, Query(description="One row for each of these.")] = None,
        application: OfApplication = None,
        key: Annotated[str | None, Query(max_length=32, description="Only of this key.")] = None,
        model: OfModel = None,
        version: OfVersion = None,
        status: Annotated[
            int | None, Query(ge=100, le=599, description="Only answers of this status.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_ITEMS, description="Items on the page.")] = 100,
        after: Annotated[
            str, Query(max_length=1000, description="`next` of the page before.")
        ] = "",
        format: Format = None,
        accept: Accept = "",
    ) -> Any:  # noqa: ANN401 -- a page, or CSV
        """Report usage: requests, rows, errors, latency and compute time of answered requests.

        Everybody sees their own: a consumer its applications', a publisher its models'.
        """
        only: dict[Dimension, str | int | None] = {
            "application": application,
            "key": key,
            "model": model,
            "version": version,
            "status": status,
        }
        query = parse_query(start, to, by, step, clock(), only, after)
        if _wants_csv(format, accept):
            return _csv(
                "usage", _columns(query), _rows(query, reports.items(reach_of(actor), query))
            )
        page = reports.page(reach_of(actor), query, limit)
        # Written by pydantic at once: FastAPI would check and copy every item before.
        return Response(page.model_dump_json(exclude_unset=True), media_type="application/json")

    @router.get("/usage/latency", responses=errors(422))
    def get_latency(
        clock: TheClock,
        reports: TheReports,
        actor: Reader,
        start: From = None,
        to: To = None,
        application: OfApplication = None,
        model: OfModel = None,
        version: OfVersion = None,
        columns: Columns = DEFAULT_COLUMNS,
    ) -> LatencyReport:
        """Report how many requests took how long, by time: what a heat map of latency shows.

        Columns are as wide as is needed for the range, and as usage is kept of its beginning.
        """
        only: dict[Dimension, str | int | None] = {
            "application": application,
            "model": model,
            "version": version,
        }
        query = parse_query(start, to, "", "minute", clock(), only)
        return reports.latency(reach_of(actor), query, columns)

    @router.get("/usage/refusals", responses=errors(422))
    def get_refusals(
        clock: TheClock,
        refusals: TheRefusals,
        actor: Reader,
        start: From = None,
        to: To = None,
        application: OfApplication = None,
        model: OfModel = None,
        columns: Columns = DEFAULT_COLUMNS,
    ) -> RefusalReport:
        """Report who was refused by which limit: rate, quota, concurrency or size, and when.

        Kept by five minutes, for as long as usage is kept by minute.
        """
        only: dict[Dimension, str | int | None] = {"application": application, "model": model}
        query = parse_query(start, to, "", "minute", clock(), only)
        return refusals.report(reach_of(actor), query, columns)

    return router


def billing_router() -> APIRouter:
    """``/quotas`` and ``/applications/A/statements``."""
    router = APIRouter(tags=["usage"])

    @router.get("/quotas", responses=errors(422))
    def list_quotas(
        quotas: TheQuotas,
        actor: Reader,
        limit: Limit = 100,
        after: After = "",
        application: Annotated[str | None, Query(description="Only of this application.")] = None,
        model: Annotated[str | None, Query(description="Only of this model.")] = None,
        reached: Annotated[
            int | None,
            Query(
                ge=1,
                le=100,
                description="Only where 80 or 100 per cent of the quota, and not less than this, "
                "have been reached in the present period.",
            ),
        ] = None,
    ) -> Page[QuotaUse]:
        """List what subscriptions have used of their plans' quotas in the present period."""
        return quotas.list(reach_of(actor), limit, after, application, model, reached)

    @router.get("/applications/{application}/statements", responses=errors(404, 422))
    def list_statements(
        statements: TheStatements,
        application: str,
        actor: Reader,
        limit: Limit = 100,
        after: After = "",
    ) -> Page[str]:
        """List the months of which an application has a statement, the newest first.

        A deleted application's stay, for those who could read them before.
        """
        found = statements.list(reach_of(actor), application, limit + 1, after)
        return Page(items=found[:limit], next=found[limit - 1] if len(found) > limit else None)

    @router.get(
        "/applications/{application}/statements/{month}",
        responses=_with_csv(404, 422),
        response_model=Statement,
    )
    def get_statement(
        statements: TheStatements,
        application: str,
        month: str,
        actor: Reader,
        format: Format = None,
        accept: Accept = "",
    ) -> Any:  # noqa: ANN401 -- a statement, or CSV
        """Read what an application has to pay for a month (`2027-01`).

        The statement of a closed month never changes.
        """
        found = statements.get(reach_of(actor), application, month)
        if _wants_csv(format, accept):
            columns = ("statement", "section", *StatementLine.model_fields)
            return _csv(f"{application}-{found.month}", columns, _statement_rows(found))
        return found

    return router


def _wants_csv(format: str | None, accept: str) -> bool:
    if format is not None:
        return format == "csv"
    offered = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    # The first of the two that is named; quality values between them are not weighed.
    named = [kind for kind in offered if kind in {csv_text.MEDIA_TYPE, "application/json"}]
    return named[:1] == [csv_text.MEDIA_TYPE]


def _csv(name: str, columns: Iterable[str], rows: Iterable[list[csv_text.Cell]]) -> Response:
    return StreamingResponse(
        csv_text.lines(list(columns), rows),
        media_type=csv_text.MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )


def _columns(query: UsageQuery) -> list[str]:
    return [*(["time"] if query.step is not None else []), *query.by, *_FIGURES]


def _rows(query: UsageQuery, items: Iterable[UsageItem]) -> Iterator[list[csv_text.Cell]]:
    columns = _columns(query)
    for item in items:
        yield [getattr(item, column) for column in columns]


def _statement_rows(statement: Statement) -> Iterator[list[csv_text.Cell]]:
    for section, lines in (("month", statement.lines), ("late", statement.late)):
        for line in lines:
            yield [statement.id, section, *line.model_dump().values()]
