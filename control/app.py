"""Control's composition root: one application out of the registry and control's own parts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from prometheus_fastapi_instrumentator import Instrumentator
from prometheus_fastapi_instrumentator.middleware import PrometheusInstrumentatorMiddleware
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import BaseRoute

from control.description import description
from control.identity.throttle import TooManyRequests
from control.middleware import (
    Authentication,
    BodyLimit,
    ErrorBoundary,
    JsonBodies,
    NoSecrets,
    Throttling,
    problem_headers,
    require,
)
from control.portal.middleware import PortalHeaders, is_portal
from control.portal.refusals import add_refusals, defect_page, refusal_page
from control.portal.rendering import environment
from control.portal.routes import portal_router
from control.portal.warming import compile_templates
from control.problems import of_status, of_validation
from control.routes_audit import audit_router
from control.routes_canaries import canary_router
from control.routes_catalogue import catalogue_router
from control.routes_configuration import configuration_router
from control.routes_conventions import known_query
from control.routes_directory import directory_router
from control.routes_disagreements import disagreement_router
from control.routes_evaluations import evaluation_router
from control.routes_flat import flattened
from control.routes_grants import grant_router
from control.routes_health import health_router
from control.routes_internal import internal_router
from control.routes_issuers import issuer_router
from control.routes_keys import key_router
from control.routes_observation import observation_router
from control.routes_oidc import oidc_router
from control.routes_pins import pin_router
from control.routes_plans import plan_router
from control.routes_publishing import publishing_router
from control.routes_receipts import receipt_router
from control.routes_sessions import session_router, token_router
from control.routes_settings import settings_router
from control.routes_subscriptions import subscription_router
from control.routes_transitions import transition_router
from control.routes_upgrades import upgrade_router
from control.routes_usage import billing_router, usage_router
from control.routes_users import user_router
from control.routes_webhooks import webhook_router
from control.services import build
from control.settings import ControlSettings
from control.store.failures import DatabaseAway, DatabaseRefusal
from protocol import problems
from protocol.errors import Code, TollwayError
from registry.clock import Clock, system_clock
from registry.routes import registry_router
from runtime.logs import logger
from runtime.release import software_version
from runtime.request_ids import RequestIds

API = "/api/v1"
OPENAPI = f"{API}/openapi.json"
Application = FastAPI
"""What :func:`create_app` gives: an ASGI application with a ``state``."""
THREADS = 16
"""Management requests that may block at once: few threads keep memory and lock contention low."""
_UNMEASURED = [
    "^/metrics$",
    "^/healthz$",
    "^/readyz$",
    "^/internal/v1/changes$",
    "^/portal/assets/",
    "^/portal/.*/events$",
]
"""Not requests of users, or held open on purpose: their times would say nothing."""


def create_app(settings: ControlSettings, *, clock: Clock = system_clock) -> FastAPI:
    """Build control. ``app.state.services`` holds the parts; nothing runs before the lifespan."""
    services = build(settings, clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        services.notifier.open()
        services.jobs.open()
        services.webhooks.dispatcher.open()
        running = [
            asyncio.create_task(services.issuer_tokens.run()),
            asyncio.create_task(compile_templates(environment())),
        ]
        for task in running:
            task.add_done_callback(_ended)
        yield
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await services.evaluations.close()
        await services.notifier.closed()
        await services.jobs.close()
        await anyio.to_thread.run_sync(services.failed_logins.close)
        await services.webhooks.dispatcher.close()
        services.database.close()

    app = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # Behind the gateway a redirect would name a host and scheme that are not the client's.
        redirect_slashes=False,
        lifespan=lifespan,
        routes=_flat_routes(),
        # From the outside in.
        middleware=[
            # Around everything: whatever is answered or logged names the request.
            Middleware(RequestIds),
            # Whatever answers below a page's path, browsers are told what it may do.
            Middleware(PortalHeaders),
            # Next, so that a defect in any other layer is answered without its details.
            Middleware(ErrorBoundary, page=defect_page),
            # Before anything refuses, so that refusals are counted. Labels are route templates.
            Middleware(
                PrometheusInstrumentatorMiddleware,
                should_ignore_untemplated=True,
                excluded_handlers=_UNMEASURED,
                metric_namespace="tollway",
                metric_subsystem="control",
                registry=services.metrics.registry,
            ),
            # Before credentials are looked up: a flood costs no query.
            Middleware(Throttling, throttle=services.throttle, stage="address"),
            # Before anything is stored, audited or logged, failed logins included.
            Middleware(NoSecrets),
            # Before bodies are read: nobody without a credential makes this process store bytes.
            Middleware(
                Authentication,
                authenticator=services.authenticator,
                cluster_token=services.cluster_token,
                public_catalogue=settings.public_catalogue,
            ),
            # After it: whose request it is must be known.
            Middleware(Throttling, throttle=services.throttle, stage="user"),
            Middleware(BodyLimit, limit=settings.max_json_bytes),
            Middleware(JsonBodies),
        ],
    )
    app.state.services = services
    app.state.registry = services.registry
    _add_error_handlers(app)
    add_refusals(app)
    Instrumentator(registry=services.metrics.registry).expose(app, include_in_schema=False)
    return app


def described(title: str, summary: str) -> dict[str, Any]:
    """The OpenAPI document of all routes as FastAPI makes it, which takes seconds."""
    return get_openapi(title=title, version=software_version(), summary=summary, routes=routes())


@cache
def routes() -> list[BaseRoute]:
    """Every route but the metrics'. Built once in a process, for all its applications: they find
    the parts that they work with in ``app.state``."""
    router = APIRouter(
        dependencies=[Depends(known_query)], generate_unique_id_function=_operation_id
    )
    router.include_router(health_router())
    router.include_router(internal_router())
    router.include_router(portal_router())
    for make in (
        partial(registry_router, require),
        canary_router,
        catalogue_router,
        publishing_router,
        evaluation_router,
        directory_router,
        plan_router,
        subscription_router,
        pin_router,
        key_router,
        issuer_router,
        user_router,
        session_router,
        token_router,
        oidc_router,
        grant_router,
        webhook_router,
        audit_router,
        usage_router,
        billing_router,
        receipt_router,
        configuration_router,
        observation_router,
        settings_router,
        disagreement_router,
        transition_router,
        upgrade_router,
    ):
        router.include_router(make(), prefix=API)

    @router.get(OPENAPI, include_in_schema=False)
    def openapi() -> Response:
        """This API's own description."""
        return Response(description(), media_type="application/json")

    return router.routes


@cache
def _flat_routes() -> list[BaseRoute]:
    return flattened(routes())


def _ended(task: asyncio.Task[None]) -> None:
    """Nothing waits for what runs beside the requests: that it failed is logged when it does."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger("control").error("work beside the requests failed", error=repr(error))


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(TollwayError)
    async def refused(request: Request, error: TollwayError) -> Response:
        if error.internal or error.status >= 500:  # noqa: PLR2004 -- server errors
            log = logger("control")
            log.warning("refused", path=request.url.path, code=error.code, reason=error.internal)
        wait_s = error.retry_after_s
        headers = None if wait_s is None else {"Retry-After": str(wait_s)}
        return await _answer(request, problems.of_error(error), headers)

    @app.exception_handler(TooManyRequests)
    async def too_many(request: Request, error: TooManyRequests) -> Response:
        return await _answer(request, problems.of_error(error), error.headers)

    async def database_away(request: Request, error: Exception) -> Response:
        log = logger("control")
        log.error("the database does not answer", path=request.url.path, error=repr(error))
        detail = "the database does not answer; try again in a moment"
        return await _answer(request, problems.problem(Code.UNAVAILABLE, detail))

    async def unstorable(request: Request, _error: Exception) -> Response:
        problem = problems.problem(Code.INVALID, "a value holds what cannot be stored")
        return await _answer(request, problem)

    app.add_exception_handler(DatabaseRefusal, unstorable)
    for kind in DatabaseAway:
        app.add_exception_handler(kind, database_away)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return await _answer(request, of_validation(error.errors()))

    @app.exception_handler(HTTPException)
    async def by_framework(request: Request, error: HTTPException) -> Response:
        detail = error.detail
        if error.status_code == 404:  # noqa: PLR2004
            detail = f"there is nothing at {request.url.path[:200]}"
        elif error.status_code == 405:  # noqa: PLR2004
            detail = f"{request.method} is not possible here"
        return await _answer(request, of_status(error.status_code, detail), error.headers)


async def _answer(
    request: Request,
    problem: problems.Problem,
    headers: Any = None,  # noqa: ANN401
) -> Response:
    if is_portal(request.url.path):
        return await refusal_page(request, problem)
    return Response(
        problems.encode(problem),
        status_code=problem.status,
        media_type=problems.MEDIA_TYPE,
        headers={**problem_headers(problem), **(headers or {})},
    )


def _operation_id(route: APIRoute) -> str:
    return route.name
