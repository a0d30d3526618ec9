"""Routes for the other roles, behind the cluster token: changes, blobs, workers, usage."""

from typing import Annotated, TypeVar

import anyio.to_thread
import msgspec
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from control.captures import decode_captures
from control.receipts import decode_epochs
from control.routes_parts import part
from control.services import Services
from control.store.gateways import Gateways
from control.store.workers import Workers
from protocol.configuration import ChangePage, WorkerDoc
from protocol.errors import Code, TollwayError
from protocol.figures import WorkerFigures
from protocol.gateways import GatewayReport
from protocol.names import check_name
from protocol.shadowing import Disagreements, MirrorCounts
from protocol.usage import UsageReceipt
from registry.routes_application import TheRegistry
from registry.routes_blobs import blob_response
from runtime.logs import logger

JSON = "application/json"
Named = TypeVar("Named", WorkerDoc, WorkerFigures, GatewayReport)
MAX_SEGMENT = 128


TheWorkers = Annotated[Workers, Depends(part(lambda services: services.workers))]
TheGateways = Annotated[Gateways, Depends(part(lambda services: services.gateways))]
TheParts = Annotated[Services, Depends(part(lambda services: services))]


def internal_router() -> APIRouter:
    """``/internal/v1``. Not in the OpenAPI document: these are the roles' own affair."""
    router = APIRouter(prefix="/internal/v1", include_in_schema=False)
    _add_changes(router)
    _add_heartbeats(router)
    _add_usage(router)
    _add_receipts(router)
    _add_disagreements(router)
    return router


def _add_changes(router: APIRouter) -> None:
    @router.get("/changes")
    async def follow_changes(
        parts: TheParts,
        stream: Annotated[str, Query(max_length=64)] = "",
        after: Annotated[int, Query(ge=0, lt=1 << 62)] = 0,
        wait_ms: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        """Changes after ``after``; waits for one up to ``wait_ms`` where there is none yet."""

        def page() -> tuple[ChangePage, bytes]:
            found = parts.stream.page(stream, after)
            return found, msgspec.json.encode(found)

        threads = parts.threads.stream
        found, body = await anyio.to_thread.run_sync(page, limiter=threads)
        if wait_ms and not (found.changes or found.reset):
            wait_s = min(wait_ms, parts.settings.change_wait_max_ms) / 1000
            await parts.notifier.wait(found.next, wait_s)
            _, body = await anyio.to_thread.run_sync(page, limiter=threads)
        return Response(body, media_type=JSON)

    @router.get("/seal-key")
    async def read_seal_key(parts: TheParts) -> Response:
        """The public key (PEM) that the seals of versions are verified with. A gateway that was
        given none asks once, and keeps it."""
        return Response(parts.seal_public_pem, media_type="application/x-pem-file")

    @router.get("/blobs/{digest}")
    def read_blob(registry: TheRegistry, digest: str, request: Request) -> StreamingResponse:
        """The bytes of a blob, from where a broken transfer stopped if the worker says so."""
        return blob_response(registry.blobs, digest, request.headers)


def _add_heartbeats(router: APIRouter) -> None:
    @router.put("/workers/{worker}", status_code=204)
    async def report_worker(workers: TheWorkers, worker: str, request: Request) -> None:
        """A worker's heartbeat with its engines."""
        document = _worker(worker, await request.body())
        await anyio.to_thread.run_sync(workers.report, document)

    @router.put("/workers/{worker}/figures", status_code=204)
    async def take_figures(workers: TheWorkers, worker: str, request: Request) -> None:
        """How a worker's engines are doing."""
        figures = _document(worker, await request.body(), WorkerFigures, "worker's figures")
        await anyio.to_thread.run_sync(workers.take_figures, figures)

    @router.delete("/workers/{worker}", status_code=204)
    def remove_worker(workers: TheWorkers, worker: str) -> None:
        """A worker that ends, and its engines with it."""
        workers.remove(check_name(worker, "worker"))

    @router.put("/gateways/{gateway}", status_code=204)
    async def report_gateway(gateways: TheGateways, gateway: str, request: Request) -> None:
        """A gateway's heartbeat; 409 when it must not run beside another that is alive."""
        document = _report(gateway, await request.body())
        await anyio.to_thread.run_sync(gateways.report, document)

    @router.delete("/gateways/{gateway}", status_code=204)
    def remove_gateway(gateways: TheGateways, gateway: str) -> None:
        """A gateway that ends."""
        gateways.remove(check_name(gateway, "gateway"))


def _add_usage(router: APIRouter) -> None:
    @router.post("/usage")
    async def ingest_usage(
        parts: TheParts,
        request: Request,
        gateway: str,
        segment: Annotated[str, Query(min_length=1, max_length=MAX_SEGMENT)],
        offset: Annotated[int, Query(ge=0, lt=1 << 62)],
    ) -> Response:
        """Lines of a gateway's usage log, counted once; the answer is the offset wanted next."""
        check_name(gateway, "gateway")
        body = await request.body()
        done = await anyio.to_thread.run_sync(
            parts.usage.store.ingest,
            gateway,
            segment,
            offset,
            body,
            limiter=parts.threads.ingest,
        )
        parts.metrics.usage(done.records, done.damaged)
        return Response(msgspec.json.encode(UsageReceipt(done.next)), media_type=JSON)


def _add_receipts(router: APIRouter) -> None:
    @router.post("/epochs", status_code=204)
    async def ingest_epochs(parts: TheParts, request: Request) -> None:
        """Lines of a gateway's epoch log, whole; those that were sent before change nothing."""
        records, damaged = decode_epochs(await request.body())
        if damaged:
            logger("receipts").error("lines of an epoch log are damaged", lines=damaged)
        await anyio.to_thread.run_sync(parts.epochs.ingest, records, limiter=parts.threads.ingest)

    @router.post("/captures", status_code=204)
    async def ingest_captures(parts: TheParts, request: Request) -> None:
        """Captured payloads; those that were sent before change nothing."""
        found = decode_captures(await request.body())
        kept = await anyio.to_thread.run_sync(
            parts.captures.ingest, found, limiter=parts.threads.ingest
        )
        parts.metrics.captures(kept)


def _add_disagreements(router: APIRouter) -> None:
    @router.post("/disagreements", status_code=204)
    async def take_disagreements(parts: TheParts, request: Request) -> None:
        """What an engine has compared since its summary before, counted once."""
        try:
            summary = msgspec.msgpack.decode(await request.body(), type=Disagreements)
        except msgspec.DecodeError as error:
            raise TollwayError(Code.MALFORMED, f"the body is no summary: {error}") from error
        await anyio.to_thread.run_sync(
            parts.disagreements.take, summary, limiter=parts.threads.ingest
        )

    @router.post("/mirrored", status_code=204)
    async def take_mirrored(parts: TheParts, request: Request) -> None:
        """What a gateway has mirrored to shadows since its summary before, counted once."""
        try:
            summary = msgspec.json.decode(await request.body(), type=MirrorCounts)
        except msgspec.ValidationError as error:
            raise TollwayError(Code.INVALID, f"the body is no summary: {error}") from error
        except msgspec.DecodeError as error:
            raise TollwayError(Code.MALFORMED, f"the body is not JSON: {error}") from error
        await anyio.to_thread.run_sync(parts.mirrored.take, summary, limiter=parts.threads.ingest)


def _worker(id: str, body: bytes) -> WorkerDoc:
    return _document(id, body, WorkerDoc, "worker")


def _report(id: str, body: bytes) -> GatewayReport:
    return _document(id, body, GatewayReport, "gateway")


def _document(id: str, body: bytes, kind: type[Named], what: str) -> Named:
    try:
        document = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise TollwayError(Code.INVALID, f"not a {what} document: {error}") from error
    except msgspec.DecodeError as error:
        raise TollwayError(Code.MALFORMED, f"the body is not JSON: {error}") from error
    if document.id != id:
        raise TollwayError(Code.INVALID, "the document's id is not the one in the path")
    return document
