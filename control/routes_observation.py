"""Routes that only look: workers and their alerts, the change log."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from control.middleware import require
from control.resources import Page
from control.rollouts.operations import Canaries
from control.routes_conventions import INSPECTORS, READERS, Limit, errors
from control.routes_parts import part
from control.store.alerts import alert_of
from control.store.gateways import Gateways
from control.store.stream import Stream
from control.store.workers import Workers, WorkerStatus
from protocol.configuration import EngineDoc
from protocol.figures import EngineFigures
from registry.access import Actor
from registry.clock import rfc3339

HIDDEN = "hash"
"""The field of key documents that stays between the roles."""


class EngineFiguresItem(BaseModel):
    """How an engine is doing: rates over the last five seconds."""

    pid: int
    memory_bytes: int | None
    """What the process has to itself; null where the system does not tell."""
    restarts: int
    """How often it was started again after it had ended by itself."""
    load_ms: int
    threads: int
    queued: int
    requests: int
    """Answered since it started."""
    requests_per_s: float
    rows_per_s: float
    busy: float
    """Share of the time in which the graph ran."""
    batching: bool | None
    """Whether requests share runs, and why: `pays` or `costs` as measured, `graph`: the model does
    not allow it."""
    batching_cause: str
    batching_reason: str


class EngineItem(BaseModel):
    """An engine of a worker. `cold`: let go of until somebody calls."""

    model: str
    version: int
    slot: int
    address: str
    state: str
    error: str
    figures: EngineFiguresItem | None = None
    """Null until it has told."""


class AlertItem(BaseModel):
    """Something about a version that somebody should look at."""

    kind: str
    message: str
    since: str
    model: str
    version: int
    worker: str = ""
    """The worker that found it; empty: a gateway did, or control itself."""
    slot: int = 0
    gateway: str = ""


class WorkerItem(BaseModel):
    """A worker that is alive."""

    id: str
    first_seen_at: str
    seen_at: str
    software: str = ""
    cores: int | None = None
    available_bytes: int | None = None
    """Memory that further engines can get."""
    engines: list[EngineItem]


class GatewayItem(BaseModel):
    """A gateway that is alive. `counters` says where it counts limits. `lag`: changes of the
    configuration that it does not follow yet."""

    id: str
    counters: str
    version: str
    started_at: str
    seen_at: str
    position: int
    lag: int
    requests_per_s: float
    in_flight: int


class ChangeItem(BaseModel):
    """A row of the change log; `doc` is null where something was deleted."""

    seq: int
    kind: str
    key: str
    doc: dict[str, Any] | None


TheWorkers = Annotated[Workers, Depends(part(lambda services: services.workers))]
TheCanaries = Annotated[Canaries, Depends(part(lambda services: services.canaries))]
TheGateways = Annotated[Gateways, Depends(part(lambda services: services.gateways))]
TheStream = Annotated[Stream, Depends(part(lambda services: services.stream))]


def observation_router() -> APIRouter:
    """``/workers``, ``/alerts``, ``/gateways`` and ``/changes``."""
    router = APIRouter(tags=["observation"])

    @router.get("/workers", responses=errors())
    def list_workers(
        workers: TheWorkers, actor: Annotated[Actor, Depends(require(*READERS))]
    ) -> Page[WorkerItem]:
        """List workers that are alive, with their engines; to publishers, those of their models."""
        known = [_worker(worker) for worker in workers.all()]
        shown = [
            worker.model_copy(
                update={
                    "engines": [one for one in worker.engines if actor.manages_model(one.model)]
                }
            )
            for worker in known
        ]
        return Page(items=shown, next=None)

    @router.get("/alerts", responses=errors())
    def list_alerts(
        workers: TheWorkers,
        canaries: TheCanaries,
        gateways: TheGateways,
        actor: Annotated[Actor, Depends(require(*READERS))],
    ) -> Page[AlertItem]:
        """List what somebody should look at; to publishers, of their models.

        `batch_variance`: a worker found that a model's answers depended on which requests shared a
        run; its requests are run one by one now. `canary_rolled_back`: a guarded canary did harm
        and has no traffic any more; it stands for a week, or until the model's next one.
        `unverified_version`: a gateway does not route to a version, whose record is not what
        control wrote.
        """
        found = [
            AlertItem(
                kind=alert.kind,
                message=alert.message,
                since=rfc3339(alert.since * 1000),
                model=engine.model,
                version=engine.version,
                worker=worker.id,
                slot=engine.slot,
            )
            for worker in workers.all()
            for engine in worker.engines
            for alert in engine.alerts
            if actor.manages_model(engine.model)
        ]
        found += [
            AlertItem(**msgspec.structs.asdict(alert_of(run)), slot=0)
            for run in canaries.alerting()
            if actor.manages_model(run.model)
        ]
        found += [
            AlertItem(
                kind="unverified_version",
                message=f"the gateway does not route to it: {report.problem}",
                since=rfc3339(report.since * 1000),
                model=report.model,
                version=report.version,
                gateway=gateway,
            )
            for gateway, report in gateways.unverified()
            if actor.manages_model(report.model)
        ]
        return Page(items=found, next=None)

    @router.get("/gateways", dependencies=[Depends(require(*INSPECTORS))], responses=errors())
    def list_gateways(gateways: TheGateways, stream: TheStream) -> Page[GatewayItem]:
        """List gateways that are alive, where they count limits, and how they are doing."""
        head = stream.head()
        items = [
            GatewayItem(**msgspec.structs.asdict(one), lag=max(head - one.position, 0))
            for one in gateways.all()
        ]
        return Page(items=items, next=None)

    @router.get("/changes", dependencies=[Depends(require(*INSPECTORS))], responses=errors(422))
    def list_changes(
        stream: TheStream,
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


def _worker(worker: WorkerStatus) -> WorkerItem:
    figures = worker.figures
    told = {} if figures is None else {_place(one): one for one in figures.engines}
    engines = []
    for engine in worker.engines:
        found = told.get(_place(engine))
        of_engine = None if found is None else msgspec.to_builtins(found)
        fields = {**msgspec.to_builtins(engine), "figures": of_engine}
        engines.append(EngineItem.model_validate(fields))
    return WorkerItem(
        id=worker.id,
        first_seen_at=worker.first_seen_at,
        seen_at=worker.seen_at,
        software="" if figures is None else figures.software,
        cores=None if figures is None else figures.cores,
        available_bytes=None if figures is None else figures.available_bytes,
        engines=engines,
    )


def _place(engine: EngineDoc | EngineFigures) -> tuple[str, int, int]:
    return engine.model, engine.version, engine.slot


def _shown(doc: msgspec.Raw) -> dict[str, Any] | None:
    document = msgspec.json.decode(doc, type=dict[str, Any] | None)
    if document is not None:
        document.pop(HIDDEN, None)
    return document
