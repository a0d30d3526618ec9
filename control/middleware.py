"""ASGI layers of control, in the order in which ``app.py`` lists them, and the role dependency."""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import unquote_to_bytes

import msgspec
from anyio import CapacityLimiter
from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control import json_bodies
from control.identity.authentication import Authenticator, authorise
from control.identity.throttle import Stage, Throttle, TooManyRequests
from control.internal import PREFIX as INTERNAL
from control.internal import ClusterToken
from control.problems import internal
from control.reach import NOBODY
from control.store.credentials import Credential
from protocol import problems
from protocol.errors import Code, TollwayError
from protocol.keys import holds_credential, holds_token, redacted
from registry.access import Actor, Role
from registry.acting import ANONYMOUS, SYSTEM, Acting, acting_as
from runtime.logs import logger

MANAGEMENT = "/api/"
UNGUARDED = frozenset({"/healthz", "/readyz", "/metrics", "/api/v1/openapi.json"})
"""The only paths that answer without a credential, besides :data:`OPEN`."""
OPEN = frozenset({("POST", "/api/v1/sessions"), ("POST", "/api/v1/signup")})
_OPEN_PATHS = re.compile(r"/api/v1/oidc/[^/]+/(login|callback)")
"""What people do who have no credential yet; the paths for GET."""
_CATALOGUE = re.compile(
    r"/api/v1/(catalogue|plans)(/[^/]+)?|/api/v1/catalogue/[^/]+/latency|/api/v1/models/[^/]+(/versions(/[^/]+)?)?"
)
"""What is read without a login where the installation allows it, as a consumer who reaches nothing
would see it."""
VISITOR = Actor(ANONYMOUS, "consumer", consumer=NOBODY, models=frozenset())
"""Who reads that."""
_ACTOR = "tollway_actor"
_CREDENTIAL = "tollway_credential"
LOOKUP_THREADS = 2
UPLOAD_PIECE = "PATCH"
LOGINS = ("/api/v1/sessions", "/api/v1/oidc/")
"""Where a token of the user's provider may well be sent."""
SEARCHED_AGAIN = 2048
"""Bytes of a body that are searched again with what follows them: a secret may be cut in two."""
_STORED_HEADERS = frozenset({b"idempotency-key", b"tollway-reason", b"user-agent"})
_EXPOSED = (
    "a credential stands in the URL or in a header that is stored: it is exposed. "
    "Revoke it, and send credentials as 'Authorization: Bearer ...'"
)
_MISPLACED = "the body holds a credential, which would be stored in the clear: leave it out"
MAX_ADDRESS = 64
MAX_REQUEST_ID = 128
MAX_REASON = 500
"""Characters of ``Tollway-Reason`` that are kept."""


async def send_problem(
    send: Send, problem: problems.Problem, more: Mapping[str, str] | None = None
) -> None:
    """Answer with a problem document, outside of any route, and ``more`` headers."""
    body = problems.encode(problem)
    named = {**problem_headers(problem), **(more or {})}
    headers = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode()) for name, value in named.items()),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def problem_headers(problem: problems.Problem) -> dict[str, str]:
    """Headers that a problem of this status has to have (RFC 9110)."""
    if problem.code == Code.UNAUTHENTICATED:
        return {"WWW-Authenticate": 'Bearer realm="tollway"'}
    if problem.code == Code.UNAVAILABLE:
        return {"Retry-After": "1"}
    return {}


class ErrorBoundary:
    """Outermost: a defect becomes a problem that tells nothing, and a log line that tells all.

    ``page`` answers where people read it; None from it: a program does.
    """

    def __init__(self, app: ASGIApp, page: Callable[[Scope], ASGIApp | None]) -> None:
        self._app = app
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return  # nobody is there to be answered, and nothing is wrong here
        except Exception:
            log = logger("control")
            log.exception("request failed", method=scope["method"], path=scope["path"])
            if started:
                raise  # the answer is under way: all that is left is to cut the connection
            page = self._page(scope)
            if page is not None:
                await page(scope, receive, send)
            else:
                await send_problem(send, internal())


class Throttling:
    """Refuses who asks too often: by address before credentials are looked up, by user after."""

    def __init__(self, app: ASGIApp, throttle: Throttle, stage: Stage) -> None:
        self._app = app
        self._throttle = throttle
        self._stage: Stage = stage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is within the limits."""
        if scope["type"] == "http" and scope["path"].startswith(MANAGEMENT):
            actor: Actor | None = scope.get(_ACTOR)
            by_address = self._stage == "address"
            # Whoever reads without a login shares a name with all others: addresses count alone.
            named = "" if actor is None or actor == VISITOR else actor.name
            who = client_address(scope) if by_address else named
            if by_address or who:
                try:
                    self._throttle.check(self._stage, scope["method"], scope["path"], who)
                except TooManyRequests as refusal:
                    await send_problem(send, problems.of_error(refusal), refusal.headers)
                    return
        await self._app(scope, receive, send)


class Authentication:
    """Refuses what carries no credential before a byte of its body is read."""

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        cluster_token: ClusterToken,
        *,
        public_catalogue: bool,
    ) -> None:
        """``public_catalogue``: whether what :data:`_CATALOGUE` names is read without a login."""
        self._app = app
        self._authenticator = authenticator
        self._public = public_catalogue
        self._cluster_token = cluster_token
        # Threads of their own: uploads and reports that fill the others do not lock everybody out.
        self._threads = CapacityLimiter(LOOKUP_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is allowed to come in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        header = next((v for name, v in scope["headers"] if name == b"authorization"), None)
        try:
            origin = _origin(scope)
            if path.startswith(INTERNAL):
                self._cluster_token.check(header)
            elif header is None and self._public and _is_catalogue(scope["method"], path):
                scope[_ACTOR] = VISITOR
                origin = msgspec.structs.replace(origin, role=VISITOR.role)
            elif path.startswith(MANAGEMENT) and not is_open(scope["method"], path):
                with acting_as(origin):  # a failure is recorded with where it came from
                    credential = await self._authenticator.identify(header, self._threads)
                actor = credential.actor
                scope[_CREDENTIAL], scope[_ACTOR] = credential, actor
                origin = msgspec.structs.replace(origin, actor=actor.name, role=actor.role)
        except TollwayError as error:
            await send_problem(send, problems.of_error(error))
            return
        with acting_as(origin):
            await self._app(scope, receive, send)


def is_open(method: str, path: str) -> bool:
    """Whether a request needs no credential."""
    return (
        path in UNGUARDED
        or (method, path) in OPEN
        or (method == "GET" and _OPEN_PATHS.fullmatch(path) is not None)
    )


def _is_catalogue(method: str, path: str) -> bool:
    return method == "GET" and _CATALOGUE.fullmatch(path) is not None


def client_address(scope: Scope) -> str:
    """The network address of who makes the request, empty where it is not known."""
    client = scope.get("client")
    # The gateway replaces what clients claim in this header by the address that it saw.
    address = Headers(scope=scope).get("x-forwarded-for", client[0] if client else "")
    return address[:MAX_ADDRESS]


def _origin(scope: Scope) -> Acting:
    """From where and why a request comes, before it is known who makes it."""
    headers = Headers(scope=scope)
    nobody = ANONYMOUS if scope["path"].startswith(MANAGEMENT) else SYSTEM
    return Acting(
        actor=nobody,
        role=nobody,
        address=client_address(scope),
        request_id=redacted(headers.get("x-request-id", ""))[:MAX_REQUEST_ID]
        or secrets.token_hex(8),
        reason=redacted(_text(headers.get("tollway-reason", "")))[:MAX_REASON],
    )


def _text(header: str) -> str:
    """A header's text, which is UTF-8, or ``MALFORMED``: what is stored is what was meant."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise TollwayError(Code.MALFORMED, "Tollway-Reason is not UTF-8") from None


class NoSecrets:
    """Refuses requests with a credential anywhere but in a header that is meant for it.

    People paste a key where a name, label or description belongs; what is stored there is shown,
    logged and audited. Bodies are searched as they arrive, but for pieces of uploads, and for JSON:
    :class:`JsonBodies` reads that whole and says where the credential stands.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what holds no credential."""
        if scope["type"] != "http" or not scope["path"].startswith(MANAGEMENT):
            await self._app(scope, receive, send)
            return
        tokens = not scope["path"].startswith(LOGINS)
        shown = [scope["path"].encode(), unquote_to_bytes(scope["query_string"])]
        shown += [value for name, value in scope["headers"] if name in _STORED_HEADERS]
        if any(holds_credential(text) or (tokens and holds_token(text)) for text in shown):
            await send_problem(send, problems.problem(Code.INVALID, _EXPOSED))
            return
        json = json_bodies.is_json(Headers(scope=scope).get("content-type", ""))
        if json or (scope["method"] == UPLOAD_PIECE and "/uploads/" in scope["path"]):
            await self._app(scope, receive, send)
            return
        before = b""

        async def searched() -> Message:
            nonlocal before
            message = await receive()
            body = before + message.get("body", b"")
            if holds_credential(body) or (tokens and holds_token(body)):
                raise HTTPException(422, _MISPLACED)
            before = body[-SEARCHED_AGAIN:]
            return message

        await self._app(scope, searched, send)


class BodyLimit:
    """Bounds bodies that routes read whole. Pieces of uploads stream and have their own bound."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request, and its body up to the limit."""
        streams = scope["type"] == "http" and (
            scope["method"] == UPLOAD_PIECE and "/uploads/" in scope["path"]
        )
        if scope["type"] != "http" or streams:
            await self._app(scope, receive, send)
            return
        refusal = f"the body is larger than {self._limit} bytes"
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > self._limit:
            await send_problem(send, problems.problem(Code.TOO_LARGE, refusal))
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise HTTPException(413, refusal)
            return message

        await self._app(scope, limited, send)


class JsonBodies:
    """Refuses bodies that are JSON, yet mean nothing certain or hold a credential, before any route
    reads them.

    Inside :class:`BodyLimit`: it holds the whole body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request with its body."""
        if (
            scope["type"] != "http"
            or not scope["path"].startswith(MANAGEMENT)
            or (scope["method"] == UPLOAD_PIECE and "/uploads/" in scope["path"])
            or not json_bodies.is_json(Headers(scope=scope).get("content-type", ""))
        ):
            await self._app(scope, receive, send)
            return
        body = bytearray()
        tokens = not scope["path"].startswith(LOGINS)

        async def checked() -> Message:
            # The route gets the last piece, which completes the body, only once it is judged.
            message = await receive()
            body.extend(message.get("body", b""))
            if message["type"] == "http.request" and not message.get("more_body", False):
                try:
                    json_bodies.check(bytes(body), tokens=tokens)
                except TollwayError as error:
                    # The framework passes on no other refusal from within its reading.
                    raise HTTPException(error.status, str(error)) from None
            return message

        await self._app(scope, checked, send)


def require(*roles: Role) -> Callable[[Request], Awaitable[Actor]]:
    """A dependency that answers with who makes the request, if the role is one of ``roles``."""

    async def actor(request: Request) -> Actor:
        known = request.scope.get(_ACTOR)
        if not isinstance(known, Actor):
            # A route outside of the guarded paths: refuse rather than let it through.
            raise TollwayError(Code.UNAUTHENTICATED, "a management token is needed")
        return authorise(known, roles)

    return actor


async def credential(request: Request) -> Credential:
    """A dependency beside :func:`require`: the credential itself."""
    known = request.scope.get(_CREDENTIAL)
    if not isinstance(known, Credential):
        raise TollwayError(Code.UNAUTHENTICATED, "a management token is needed")
    return known


async def without_credential(request: Request) -> str:
    """The dependency of a route in :data:`OPEN`, instead of :func:`require`. Gives the address."""
    if not is_open(request.method, request.url.path):
        raise TollwayError(Code.UNAUTHENTICATED, "a management token is needed")
    return client_address(request.scope)
