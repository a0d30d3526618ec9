"""Routes that the gateway answers from its catalog: health, metadata, index, statistics.

Health and the metadata of published models are open to everybody; statistics need a credential
that may use the model, and tell how its limits stand. They use none of them up.
"""

from collections.abc import Iterable
from importlib.metadata import version as distribution_version

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from gateway import metadata
from gateway.answer import error_answer
from gateway.catalog import Catalog, ModelEntry
from gateway.destinations import Destinations
from gateway.endings import EndingHeaders
from gateway.lane import peer_of, read_headers
from gateway.paths import parse_version
from gateway.routing import Routing, hide_unseen
from policies.addresses import TrustedProxies
from policies.base import Call, Policy
from policies.chain import Chain
from policies.lifecycle import LifecyclePolicy
from policies.plan_limits import PlanLimitsPolicy
from protocol.configuration import VersionDoc
from protocol.errors import Code, TollwayError

MAX_INDEX_BODY_BYTES = 4096


class _IndexFilter(msgspec.Struct):
    ready: bool = False


class CatalogRoutes:
    """The handlers, over the catalog and those who answer."""

    def __init__(
        self,
        catalog: Catalog,
        destinations: Destinations,
        routing: Routing,
        proxies: TrustedProxies,
        accept: list[Policy],
        authorise: list[Policy],
        limits: PlanLimitsPolicy,
    ) -> None:
        """``accept`` and ``authorise``: what a call for statistics must satisfy before and after
        its version is chosen. ``limits``: what its caller is told of."""
        self._catalog = catalog
        self._destinations = destinations
        self._routing = routing
        self._proxies = proxies
        first = [policy.check for policy in accept]
        self._known = Chain(first)
        policies = (policy.check for policy in authorise)
        self._chain = Chain([*first, routing.choose, *policies])
        self._limits = limits
        self._lifecycle = LifecyclePolicy()
        self._endings = EndingHeaders()
        self.started = False
        """Set when the configuration has been applied; until then the server is not ready."""
        self.stopping = False

    def router(self) -> APIRouter:
        """The routes, in the protocols' own paths."""
        router = APIRouter()
        get = router.get
        get("/v2")(self.server)
        get("/v2/")(self.server)
        get("/v2/health/live")(self.live)
        get("/v2/health/ready")(self.ready)
        get("/v2/models/stats")(self.all_stats)
        for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            get(prefix)(self.model)
            get(prefix + "/ready")(self.model_ready)
            get(prefix + "/config")(self.config)
            get(prefix + "/stats")(self.stats)
        router.post("/v2/repository/index")(self.index)
        for prefix in (
            "/v1/models/{model}",
            "/v1/models/{model}/versions/{version}",
            "/v1/models/{model}/labels/{label}",
        ):
            get(prefix)(self.v1_model)
            get(prefix + "/metadata")(self.v1_metadata)
        return router

    async def server(self) -> Response:
        """Server metadata."""
        return JSONResponse(metadata.server(distribution_version("tollwayd")))

    async def live(self) -> Response:
        """Whether the process answers."""
        return JSONResponse({"live": True})

    async def ready(self) -> Response:
        """Whether every model that has a stable version could answer now."""
        waiting = self.waiting_for()
        if not self.started or self.stopping or waiting:
            raise TollwayError(
                Code.NOT_READY,
                "not ready: " + (", ".join(waiting[:10]) or "starting or stopping"),
            )
        return JSONResponse({"ready": True})

    def waiting_for(self) -> list[str]:
        """Models whose stable version no engine answers for yet. A version that cannot be loaded,
        or is loaded when it is called, is not waited for: it must not take the other models out of
        service."""
        return [
            entry.name
            for entry in self._catalog.models.values()
            if (stable := self._routing.stable(entry)) is not None
            and stable.loaded
            and not entry.idle_unload_s
            and not self._is_ready(stable)
            and not self._catalog.has_failed(entry.name, stable.number)
            and not self._destinations.has_failed((entry.name, stable.number))
        ]

    async def model(self, model: str, version: str | None = None) -> Response:
        """Model metadata."""
        entry, found = self.find(model, version)
        return self._answered(found, metadata.v2_model(entry, found))

    async def model_ready(self, model: str, version: str | None = None) -> Response:
        """Whether an engine would take a request for the model now."""
        _, found = self.find(model, version)
        if not self._is_ready(found):
            raise TollwayError(
                Code.NOT_READY, f"no engine is ready for '{model}' version {found.number}"
            )
        content = {"name": model, "version": str(found.number), "ready": True}
        return self._answered(found, content)

    async def config(self, model: str, version: str | None = None) -> Response:
        """Model configuration."""
        _, found = self.find(model, version)
        return self._answered(found, metadata.v2_config(found))

    async def v1_model(
        self, model: str, version: str | None = None, label: str | None = None
    ) -> Response:
        """V1 readiness."""
        entry, found = self.find(model, version, label)
        ready = self._is_ready(found)
        return self._answered(found, metadata.v1_status(entry, found, ready), 200 if ready else 503)

    async def v1_metadata(
        self, model: str, version: str | None = None, label: str | None = None
    ) -> Response:
        """V1 metadata."""
        entry, found = self.find(model, version, label)
        return self._answered(found, metadata.v1_metadata(entry, found))

    async def index(self, request: Request) -> Response:
        """The published versions; with ``{"ready": true}`` only those that answer now."""
        only_ready = await _wants_ready_only(request)
        items = [
            metadata.index_item(entry, version, ready)
            for _, entry in sorted(self._catalog.models.items())
            for version in entry.published()
            if (ready := self._is_ready(version)) or not only_ready
        ]
        return JSONResponse(items)

    async def stats(self, request: Request, model: str, version: str | None = None) -> Response:
        """Triton's statistics of a version, summed over its engines, also those that are gone; of a
        model without a version, those of each of its versions that answers."""
        call = self._asked(model, version, request)
        try:
            await self._chain.passed(call)
        except TollwayError as error:
            return refusal(error, await self._standing(call, error.code))
        content = {"model_stats": await self._statistics(call, every=version is None)}
        return JSONResponse(content, headers=await self._standing(call))

    async def all_stats(self, request: Request) -> Response:
        """The statistics of every model that the caller may use."""
        if "stats" in self._catalog.models:  # a model of this name goes before
            return await self.model("stats")
        items: list[metadata.Json] = []
        await self._known.passed(self._asked("", None, request))
        for model in sorted(self._catalog.models):
            call = self._asked(model, None, request)
            try:
                await self._chain.passed(call)
            except TollwayError:
                continue  # not the caller's to see
            items += await self._statistics(call, every=True)
        return JSONResponse({"model_stats": items})

    def _asked(self, model: str, version: str | None, request: Request) -> Call:
        call = _call(model, version)
        call.scope = "metadata"
        read_headers(call, request.headers.raw)
        if call.flaw is not None:
            raise TollwayError(*call.flaw)
        call.client = self._proxies.client(peer_of(request.scope), call.forwarded_for)
        return call

    async def _statistics(self, call: Call, *, every: bool) -> list[metadata.Json]:
        """Of the version that the call chose; with ``every``, also of the others that are published
        and have engines."""
        entry = self._catalog.models[call.model]
        versions = [
            version
            for number, version in sorted(entry.versions.items())
            if number == call.version
            or (every and self._is_ready(version) and version in entry.published())
        ]
        return [
            metadata.v2_stats(v, *await self._destinations.statistics((v.model, v.number)))
            for v in versions
        ]

    async def _standing(self, call: Call, refused: Code | None = None) -> dict[str, str]:
        """Headers that tell the caller how its limits stand; none for who has none."""
        if call.identity is None:
            return {}
        if not call.version:
            hide_unseen(self._catalog, call)
        waiting = self._limits.look(call, refused)
        if waiting is not None:
            await waiting
        return _decoded(self._limits.headers(call))

    def _answered(self, version: VersionDoc, content: metadata.Json, status: int = 200) -> Response:
        return JSONResponse(content, status, headers=self.ending_of(version))

    def ending_of(self, version: VersionDoc) -> dict[str, str]:
        """Headers of answers about a version; none for one that does not end."""
        return _decoded(self._endings.of(version.model, version.number, version.deprecation))

    def ending(self, request: Request) -> dict[str, str]:
        """Headers for a refusal about a version that ends; none where the path names none."""
        named = request.path_params
        if "model" not in named:
            return {}
        call = _call(named["model"], named.get("version"), named.get("label"))
        try:
            self._routing.choose(call)
        except TollwayError:
            return {}
        return _decoded(self._endings.of(call.model, call.version, call.deprecation))

    def _is_ready(self, version: VersionDoc) -> bool:
        return self._destinations.is_ready((version.model, version.number))

    def find(
        self, model: str, version: str | None, label: str | None = None
    ) -> tuple[ModelEntry, VersionDoc]:
        """The model and the version named, as far as anybody may see them."""
        return self._choose(_call(model, version, label))

    def _choose(self, call: Call) -> tuple[ModelEntry, VersionDoc]:
        self._routing.choose(call)
        entry = self._catalog.models[call.model]
        self._lifecycle.check(call)
        return entry, entry.versions[call.version]


def _call(model: str, version: str | None, label: str | None = None) -> Call:
    number = None if version is None else parse_version(version) or 0
    return Call(model=model, number=number, label=label)


def refusal(error: TollwayError, headers: dict[str, str] | None = None) -> Response:
    """``{"error": "..."}``, as clients of the prediction protocols expect it."""
    answer = error_answer(error)
    return Response(answer.body, answer.status, (headers or {}) | _decoded(answer.headers))


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


async def _wants_ready_only(request: Request) -> bool:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_INDEX_BODY_BYTES:
            raise TollwayError(Code.TOO_LARGE, "the body is too large: send {} or {'ready': true}")
    if not body.strip():
        return False
    try:
        return msgspec.json.decode(body, type=_IndexFilter).ready
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise TollwayError(
            Code.MALFORMED, "the body is not a filter: send {} or {'ready': true}"
        ) from None
