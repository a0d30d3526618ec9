"""Routes that only look: usage, workers, the change log."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict

from control.middleware import require
from control.resources import Page
from control.routes_conventions import INSPECTORS, READERS, After, Limit, errors
from control.store.gateways import Gateways
from control.store.stream import Stream
from control.store.usage import UsageStore
from control.store.workers import Workers
from control.usage_report import Step, parse_query, report
from protocol.errors import Code, TollwayError
from registry.access import Actor
from registry.clock import Clock

HIDDEN = "hash"
"""The field of key documents that stays between the roles."""


class UsageItem(BaseModel):
    """One row of the report: the time with a `step`, the dimensions asked for, and the figures."""

    model_config = ConfigDict(frozen=True)

    time: str | None = None
    application: str | None = None
    model: str | None = None
    version: int | None = None
    variant: str | None = None
    status: int | None = None
    requests: int
    rows: int
    errors: int
    p50_ms: float | None
    p99_ms: float | None
    compute_ms: float


class EngineItem(BaseModel):
    """An engine of a worker."""

    model: str
    version: int
    slot: int
    address: str
    state: str
    error: str


class WorkerItem(BaseModel):
    """A worker that is alive."""

    id: str
    first_seen_at: str
    seen_at: str
    engines: list[EngineItem]


class GatewayItem(BaseModel):
    """A gateway that is alive. `counters` says where it counts limits."""

    id: str
    counters: str
    version: str
    started_at: str
    seen_at: str


class ChangeItem(BaseModel):
    """A row of the change log; `doc` is null where something was deleted."""

    seq: int
    kind: str
    key: str
    doc: dict[str, Any] | None


def observation_router(
    usage: UsageStore, workers: Workers, gateways: Gateways, stream: Stream, clock: Clock
) -> APIRouter:
    """``/usage``, ``/workers``, ``/gateways`` and ``/changes``."""
    router = APIRouter(tags=["observation"])
    reads = [Depends(require(*READERS))]

    @router.get(
        "/usage",
        dependencies=reads,
        responses=errors(422),
        response_model=Page[UsageItem],
        response_model_exclude_unset=True,
    )
    def get_usage(
        start: Annotated[
            AwareDatetime | None,
            Query(alias="from", description="Begin (RFC 3339); left out: 24 hours before `to`."),
        ] = None,
        to: Annotated[AwareDatetime | None, Query(description="End; left out: now.")] = None,
        by: Annotated[
            str,
            Query(description="Any of `application,model,version,variant,status`, by commas."),
        ] = "",
        step: Annotated[Step | None, Query(description="One row for each of these.")] = None,
        limit: Annotated[int, Query(ge=1, le=100_000, description="Items on the page.")] = 10_000,
        after: After = "",
    ) -> Page[UsageItem]:
        """Report usage: requests, rows, errors, latency and compute time of answered requests."""
        query = parse_query(start, to, by, step, clock())
        if after and not (after.isascii() and after.isdecimal()):
            raise TollwayError(Code.INVALID, "query.after: is not the 'next' of a page")
        begin = int(after or 0)
        items = report(query, usage.rows(query.start, query.end, query.by))
        following = str(begin + limit) if len(items) > begin + limit else None
        shown = [UsageItem.model_validate(item) for item in items[begin : begin + limit]]
        return Page(items=shown, next=following)

    @router.get("/workers", responses=errors())
    def list_workers(actor: Annotated[Actor, Depends(require(*READERS))]) -> Page[WorkerItem]:
        """List workers that are alive, with their engines; to publishers, those of their models."""
        known = [WorkerItem.model_validate(worker) for worker in msgspec.to_builtins(workers.all())]
        shown = [
            worker.model_copy(
                update={
                    "engines": [one for one in worker.engines if actor.manages_model(one.model)]
                }
            )
            for worker in known
        ]
        return Page(items=shown, next=None)

    @router.get("/gateways", dependencies=[Depends(require(*INSPECTORS))], responses=errors())
    def list_gateways() -> Page[GatewayItem]:
        """List gateways that are alive, and where they count limits."""
        known = msgspec.to_builtins(gateways.all())
        return Page(items=[GatewayItem.model_validate(one) for one in known], next=None)

    @router.get("/changes", dependencies=[Depends(require(*INSPECTORS))], responses=errors(422))
    def list_changes(
        after: Annotated[
            int, Query(ge=0, lt=1 << 53, description="`next` of the page before.")
        ] = 0,
        limit: Limit = 100,
    ) -> Page[ChangeItem]:
        """List configuration changes in their order. Superseded ones disappear over time."""
        found = stream.rows(after, limit + 1)
        items = [
            ChangeItem(seq=one.seq, kind=one.kind, key=one.key, doc=_shown(one.doc))
            for one in found[:limit]
        ]
        return Page(items=items, next=str(items[-1].seq) if len(found) > limit else None)

    return router


def _shown(doc: msgspec.Raw) -> dict[str, Any] | None:
    document = msgspec.json.decode(doc, type=dict[str, Any] | None)
    if document is not None:
        document.pop(HIDDEN, None)
    return document
