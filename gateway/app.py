"""The gateway's composition root."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Self

import httpx
import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gateway.capture import Capture
from gateway.catalog import Catalog
from gateway.coding import Coding
from gateway.cold_starts import ColdStarts
from gateway.cross_origin import CrossOrigin, for_page, preflight
from gateway.destinations import Destinations
from gateway.fast_lane import FastLane
from gateway.heartbeat import GatewayFigures, Heartbeat
from gateway.invoke import Invoker
from gateway.lane import Application, PredictionLane, Receive, Scope, Send
from gateway.limiting import Limiting
from gateway.links import Links
from gateway.metrics import PredictionMetrics
from gateway.mirror_counts import MirrorReports
from gateway.observation import Observation
from gateway.policy_set import PolicySet
from gateway.receipts import Receipts
from gateway.remotes import Remotes
from gateway.routes import CatalogRoutes, refusal
from gateway.routes_forward import ControlProxy, problem
from gateway.routes_openapi import OpenApiRoutes
from gateway.routing import Routing
from gateway.scrape import ScrapeAccess
from gateway.seals import Seals
from gateway.settings import GatewaySettings
from gateway.shadowing import Shadowing
from gateway.shipper import UsageShipper
from gateway.upstream import Upstream
from gateway.usage_log import UsageLog
from policies.addresses import TrustedProxies
from protocol.configuration import FINAL_STATES
from protocol.errors import Code, TollwayError
from protocol.keys import redacted
from runtime.addresses import control_client
from runtime.control_connections import ControlConnections
from runtime.files import read_secret, secret_file
from runtime.follower import ChangeFollower
from runtime.logs import logger
from runtime.request_ids import RequestIds
from runtime.start import StartError

LAST_SHIPMENT_S = 1.0
"""Time that control gets to take the last usage when the gateway stops."""
OWN_PREFIXES = ("/v1/", "/v2/")
OWN_PATHS = frozenset({"/v1", "/v2", "/metrics"})


@dataclass(frozen=True, slots=True)
class GatewaySecrets:
    """What control and every gateway share."""

    cluster_token: bytes
    key_pepper: bytes

    @classmethod
    def read(cls, settings: GatewaySettings) -> Self:
        """From the files that the settings name. Raises ``StartError``: a gateway makes no secrets
        of its own, for with others than control's it would refuse every key."""
        return cls(read_secret(settings.cluster_token_file), read_secret(settings.key_pepper_file))


class Gateway:
    """Everything the role consists of, built and wired. Make it inside a running event loop."""

    def __init__(
        self,
        settings: GatewaySettings,
        secrets: GatewaySecrets,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``now`` gives UNIX seconds."""
        folder = settings.data_dir / "gateway"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        token = secrets.cluster_token
        self.failure: BaseException | None = None
        """What ended a background task, and with it the gateway."""
        policies = PolicySet(settings, secrets.key_pepper, now)
        self.tokens = policies.tokens
        proxies = TrustedProxies(settings.proxy_networks)
        cold = ColdStarts(self._cold_start_wait_s, settings.max_cold_waiting)
        self.upstream = Upstream(
            max_in_flight=settings.max_in_flight_per_engine,
            digest_of=self._digest,
            cold=cold,
        )
        self._links = Links(self.upstream, token)
        self.remotes = Remotes.configured(settings)
        destinations = Destinations(self.upstream, self.remotes)
        self.seals = Seals.open(settings.seal_public_key_file, folder, now)
        self.catalog = Catalog(
            policies.holders,
            self._links.reconcile,
            self.remotes.reconcile,
            self.seals,
            lambda kind, key: self.follower.revision(kind, key),  # noqa: PLW0108 -- made below
            destinations.is_ready,
        )
        self.routing = Routing(self.catalog, policies.pins, destinations)
        self._ship_interval_s = settings.usage_ship_interval_ms / 1000
        id_ = _gateway_id(folder)
        self.receipts = Receipts(folder / "epochs", gateway=id_, now=now, digest_of=self._digest)
        self.usage = UsageLog(folder / "usage", segment_bytes=settings.usage_segment_bytes, now=now)
        self._limiting = Limiting(
            settings, policies.plans, self.usage, folder, now=now, monotonic=time.monotonic
        )
        self.metrics = self._prediction_metrics(destinations, cold)
        models, out = self.catalog.models, policies.applications.uncaptured
        self._shadowing = Shadowing(settings, models, self.upstream, uncaptured=out)
        self.capture = Capture(settings, models, out, folder / "captures", now=now)
        self._internal = control_client(settings.control_url, token.decode())
        self._passing = ControlConnections(settings.control_url)
        self.follower = ChangeFollower(
            self._internal, folder / "changes.journal", self.catalog.apply
        )
        self._heartbeat = Heartbeat(
            self._internal,
            id=id_,
            counters=self._limiting.store,
            version=distribution_version("tollwayd"),
            remotes=self.remotes,
            seals=self.seals,
            figures=self._figures,
            now=now,
        )
        self._mirror_reports = MirrorReports(self._internal, self._shadowing.counts)
        self._shipper = self._usage_shipper(folder, id_)
        self.routes = CatalogRoutes(
            self.catalog,
            destinations,
            self.routing,
            proxies,
            [policies.identify, *policies.accept],
            policies.authorise,
            self._limiting.policy,
        )
        self.observation = Observation(settings, instance=id_, now=now)
        self._scrape = ScrapeAccess(policies.keys, token)
        invoker = self._invoker(settings, policies, now)
        self._coding = Coding(invoker, policies.sizes)
        self.application: Application = PredictionLane(
            CrossOrigin(self._fastapi(proxies), policies.identify, policies.origins),
            invoker,
            self._coding,
            policies.sizes,
            proxies,
            partial(preflight, policies.origins),
        )
        self.fast_lane = FastLane(invoker, self._coding, policies.sizes, proxies)

    def _prediction_metrics(
        self, destinations: Destinations, cold: ColdStarts
    ) -> PredictionMetrics:
        return PredictionMetrics(
            {
                "tollway_in_flight": (
                    "Requests that wait for an engine or a remote server.",
                    destinations.in_flight,
                ),
                **cold.gauges(),
                **self.upstream.gauges(),
                **self.routing.gauges(),
                "tollway_usage_write_failures_total": (
                    "Usage log writes that failed; their requests were answered 503.",
                    lambda: self.usage.failures,
                ),
                "tollway_receipt_write_failures_total": (
                    "Epochs of prediction ids that could not be written; they were answered 503.",
                    lambda: self.receipts.failures,
                ),
            },
            self._load,
        )

    def _invoker(
        self,
        settings: GatewaySettings,
        policies: PolicySet,
        now: Callable[[], float],
    ) -> Invoker:
        return Invoker(
            identify=policies.identify,
            accept=policies.accept,
            authorise=policies.authorise,
            admission=policies.admission,
            limits=self._limiting.policy,
            catalog=self.catalog,
            routing=self.routing,
            usage=self.usage,
            metrics=self.metrics,
            observer=self.observation.observer,
            shadowing=self._shadowing,
            receipts=self.receipts,
            capture=self.capture,
            pages=partial(for_page, policies.origins),
            now=now,
            monotonic=time.monotonic,
            default_deadline_ms=settings.default_deadline_ms,
        )

    def _figures(self) -> GatewayFigures:
        in_flight = self.upstream.in_flight()
        return GatewayFigures(self.follower.position, self.metrics.requests, in_flight)

    def _usage_shipper(self, folder: Path, id_: str) -> UsageShipper:
        return UsageShipper(
            self.usage,
            folder / "usage",
            self._internal,
            gateway=id_,
            interval_s=self._ship_interval_s,
            release=self._limiting.release,
        )

    @contextlib.asynccontextmanager
    async def running(self, stop: asyncio.Event | None = None) -> AsyncIterator[None]:
        """Follow the configuration and ship usage for as long as the block lasts.

        A background task that ends by itself is a defect: ``failure`` holds it, ``stop`` is set.
        A gateway that serves on with a configuration that no longer changes is worse. Raises
        :class:`StartError` when control refuses this gateway.
        """
        stop = stop or asyncio.Event()
        async with contextlib.AsyncExitStack() as cleanup:
            # Undone from the last to the first: each needs those above it.
            cleanup.callback(self._passing.close)
            cleanup.push_async_callback(self._internal.aclose)
            cleanup.push_async_callback(self.tokens.close)
            cleanup.push_async_callback(self._ship_the_rest)
            cleanup.push_async_callback(self._limiting.close)
            cleanup.callback(self.usage.close)
            cleanup.callback(self.receipts.close)
            cleanup.callback(self._coding.close)
            await cleanup.enter_async_context(self.observation.running())
            await self._heartbeat.first()
            cleanup.push_async_callback(self._heartbeat.goodbye)
            await self.seals.obtain(self._internal)
            self.follower.load()
            # What was in flight settles its limits until the links are closed.
            for work in self._limiting.work():
                cleanup.push_async_callback(_cancelled, self._started(work, stop))
            cleanup.push_async_callback(self._links.close)
            cleanup.push_async_callback(self.remotes.close)
            await self._limiting.open()
            for work in (
                self.follower.run(),
                self.seals.run(self._internal, self.catalog.take),
                self._shipper.run(),
                self.receipts.run(self._internal, self._ship_interval_s),
                self.capture.run(self._internal),
                self.tokens.run(),
                self._heartbeat.run(),
                self._mirror_reports.run(),
                self._watch(stop),
            ):
                cleanup.push_async_callback(_cancelled, self._started(work, stop))
            yield

    def _started(
        self, work: Coroutine[object, object, None], stop: asyncio.Event
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(partial(self._ended, stop))
        return task

    async def _watch(self, stop: asyncio.Event) -> None:
        """Readiness: true once there is a configuration, false once it was asked to stop."""
        await self.follower.synchronised.wait()
        self.routes.started = True
        await stop.wait()
        self.routes.stopping = True

    async def _ship_the_rest(self) -> None:
        # What control cannot take now stays on disk for the next start.
        with contextlib.suppress(httpx.HTTPError, msgspec.DecodeError, OSError, TimeoutError):
            async with asyncio.timeout(LAST_SHIPMENT_S):
                await self.receipts.ship(self._internal)
                await self._shipper.ship()
                await self._mirror_reports.tell()

    def _ended(self, stop: asyncio.Event, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, StartError):  # that one says itself why, at the end
                logger("gateway").error("a background task failed", error=repr(error))
            self.failure = error
            stop.set()

    def _load(self) -> dict[tuple[str, int], tuple[int, int]]:
        """A version that should be served and has no engine is there too: alerts look for the 0.
        Save where its model may have none while nobody calls it."""
        wanted = {
            (entry.name, version.number): (0, 0)
            for entry in self.catalog.models.values()
            for version in entry.versions.values()
            if version.loaded and not entry.idle_unload_s and version.state not in FINAL_STATES
        }
        remote = {key: found.load() for key in wanted if (found := self.remotes.get(key))}
        return wanted | self.upstream.load() | remote

    def _cold_start_wait_s(self, model: str, number: int) -> float | None:
        return self.catalog.cold_start_wait_s(model, number)

    def _digest(self, model: str, number: int) -> str | None:
        version = self.catalog.version(model, number)
        return None if version is None else version.digest

    def _fastapi(self, proxies: TrustedProxies) -> Application:
        app = FastAPI(title="Tollway gateway", docs_url=None, redoc_url=None, openapi_url=None)
        registry = CollectorRegistry()
        self.metrics.register(registry)
        registry.register(self.tokens)
        registry.register(self._limiting)
        self.observation.register(registry)
        registry.register(self.remotes)
        registry.register(self.seals)
        registry.register(self._shadowing)
        registry.register(self.capture)
        scrape, routes = self._scrape, self.routes

        @app.get("/metrics")
        async def metrics(request: Request) -> Response:
            client = request.client.host if request.client is not None else ""
            if not scrape.allows(client, request.headers):
                return problem(
                    Code.UNAUTHENTICATED, "metrics need the cluster token or an admin token"
                )
            return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

        app.include_router(self.routes.router())
        app.include_router(OpenApiRoutes(self.routes).router())

        @app.exception_handler(TollwayError)
        async def refused(request: Request, error: TollwayError) -> Response:
            return refusal(error, routes.ending(request))

        app.add_exception_handler(HTTPException, _http_error)
        app.add_exception_handler(ClientDisconnect, _nobody)
        app.add_exception_handler(Exception, _defect)
        proxy = ControlProxy(self._passing, proxies)

        async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
            own = scope["type"] != "http" or is_own(scope["path"])
            await (app if own else proxy)(scope, receive, send)

        return RequestIds(dispatch)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def is_own(path: str) -> bool:
    """Whether the gateway answers a path itself; all others are control's."""
    return path in OWN_PATHS or path.startswith(OWN_PREFIXES)


async def _http_error(request: Request, error: Exception) -> Response:
    """The framework's routing errors, in the form that the protocols' clients expect."""
    assert isinstance(error, HTTPException)
    text = f"{request.method} {request.url.path[:200]}: {error.detail}"
    return JSONResponse({"error": redacted(text)}, error.status_code, error.headers)


async def _nobody(_request: Request, _error: Exception) -> Response:
    """The client has left, or was sent away, before its request was whole: nothing is wrong here,
    and the server drops the answer."""
    return Response(status_code=400)


async def _defect(_request: Request, _error: Exception) -> Response:
    """The server logs it; the client learns nothing of it but whose fault it is."""
    return refusal(TollwayError(Code.INTERNAL, "an internal error of the gateway"))


def _gateway_id(folder: Path) -> str:
    """This gateway's name in the usage accounts: the same for as long as its folder lives."""
    return secret_file(folder / "gateway.id", lambda: secrets.token_hex(8)).decode()
