"""The ASGI lane: prediction requests from ASGI events to the invoker and back.

It stands before the FastAPI application, which gets every other request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from time import monotonic
from typing import Any

from gateway.answer import Answer
from gateway.coding import Coding, accepted_coding, content_coding
from gateway.invoke import Invoker
from gateway.paths import Paths, Target, parse_version
from policies.addresses import TrustedProxies
from policies.base import Call
from policies.request_size import RequestSizePolicy
from protocol.errors import Code, TollwayError
from protocol.frames import NO_HEADER, Operation
from runtime.request_ids import is_sane

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_JSON_TYPES = frozenset({b"application/json", b"application/octet-stream", b"text/json"})
_BEARER = b"bearer "
MAX_NUMBER_DIGITS = 10


class PredictionLane:
    """An ASGI application that answers predictions itself and hands on the rest."""

    def __init__(
        self,
        application: Application,
        invoker: Invoker,
        coding: Coding,
        sizes: RequestSizePolicy,
        proxies: TrustedProxies,
        preflight: Callable[[list[tuple[bytes, bytes]]], Answer | None],
    ) -> None:
        """``preflight`` answers the headers of an OPTIONS request by which a browser asks."""
        self._application = application
        self._invoker = invoker
        self._coding = coding
        self._sizes = sizes
        self._proxies = proxies
        self._preflight = preflight
        self._router = Paths()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
        target = self._router.target(scope["path"]) if scope["type"] == "http" else None
        if target is None:
            await self._application(scope, receive, send)
            return
        answer = await self._predict(target, scope, receive)
        if answer is not None:
            await send_answer(answer, send)

    async def _predict(self, target: Target, scope: Scope, receive: Receive) -> Answer | None:
        """The answer; None when the client went away before its request was complete."""
        if scope["method"] == "OPTIONS":
            preflight = self._preflight(scope["headers"])
            if preflight is not None:
                return preflight
        if scope["method"] != "POST":
            return await self._not_asked_for(target, scope)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def finish(answer: Answer) -> None:
            if not answered.done():  # it is when the server has cancelled this task
                answered.set_result(answer)

        call = Call(model=target.model, started=monotonic())
        read_target(call, target)
        read_headers(call, scope["headers"])
        call.client = self._proxies.client(peer_of(scope), call.forwarded_for)
        try:
            await self._admitted(call)
            try:
                async with asyncio.timeout_at(call.deadline):
                    body = await self._body(call, receive)
            except TimeoutError:
                raise late_body() from None
            if body is None:
                self._invoker.abandon(call)
                return None
        except TollwayError as error:
            self._invoker.refuse(call, error, finish)
        except BaseException:  # this task was cancelled
            self._invoker.abandon(call)
            raise
        else:
            coded = call.content_coding or call.accepted_coding
            (self._coding if coded else self._invoker).forward(call, body, finish)
        return await answered

    async def _not_asked_for(self, target: Target, scope: Scope) -> Answer:
        call = Call(model=target.model, started=monotonic())
        read_caller(call, scope["headers"])
        refused = TollwayError(Code.METHOD_NOT_ALLOWED, "predictions are asked for by POST")
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._invoker.refuse(call, refused, answered.set_result)
        answer = await answered
        answer.headers.append((b"allow", b"POST"))
        return answer

    async def _admitted(self, call: Call) -> None:
        """Return once the call is admitted; raise why it is not."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def decided(refusal: TollwayError | None) -> None:
            if waiting.done():  # this task was cancelled
                self._invoker.abandon(call)
            elif refusal is None:
                waiting.set_result(None)
            else:
                waiting.set_exception(refusal)

        self._invoker.admit(call, decided)
        await waiting

    async def _body(self, call: Call, receive: Receive) -> bytes | None:
        limit = self._sizes.limit(call)
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                return None
            part = event.get("body", b"")
            size += len(part)
            if size > limit:
                raise self._sizes.refusal(call)
            parts.append(part)
            more = event.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def late_body() -> TollwayError:
    """The error for a body that is not complete when its request's deadline passes."""
    return TollwayError(
        Code.BODY_TIMEOUT, "the deadline passed before the request's body was complete"
    )


def peer_of(scope: Scope) -> str:
    """Address of the TCP peer; empty over a Unix socket."""
    client = scope.get("client")
    return "" if client is None else str(client[0])


def read_target(call: Call, target: Target) -> None:
    """What the path says."""
    call.operation = target.operation
    if target.operation == Operation.V1_EXPLAIN:
        call.scope = "explain"
    call.label = target.label
    if target.version is not None:
        call.number = parse_version(target.version) or 0


def read_headers(call: Call, headers: list[tuple[bytes, bytes]]) -> None:
    """What the headers say. The first that cannot be honoured is the call's flaw; the others are
    read all the same, as they say who calls."""
    single: set[bytes] = set()
    for name, value in headers:
        read = _READERS.get(name)
        if read is not None:
            try:
                read(call, value)
                if name in _SINGLE:
                    _no_second(name, single)
            except TollwayError as error:
                call.flaw = call.flaw or (error.code, error.public)
    if call.origin is not None and _is_own_page(call.origin, headers):
        call.origin = None


def _no_second(name: bytes, single: set[bytes]) -> None:
    """Of two values of one field nobody can tell which is meant."""
    if name in single:
        raise TollwayError(Code.MALFORMED, f"header '{name.decode()}' is repeated: send it once")
    single.add(name)


def read_caller(call: Call, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """What the headers say of who calls, and nothing else."""
    for name, value in headers:
        if name in _CALLER:
            _READERS[name](call, value)
    if call.origin is not None and _is_own_page(call.origin, headers):
        call.origin = None


def _is_own_page(origin: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the page that calls is of this very host, as the portal's are: then it is not another
    origin's, though browsers name it on a POST. Both headers are the browser's own: no page can
    write them."""
    host = origin.partition(b"://")[2].lower()
    return any(name == b"host" and value.lower() == host for name, value in headers)


def _origin(call: Call, value: bytes) -> None:
    call.origin = value


def _forwarded_for(call: Call, value: bytes) -> None:
    # Each proxy may have added a line instead of an element (RFC 9110, 5.3).
    call.forwarded_for = call.forwarded_for + b"," + value if call.forwarded_for else value


def _api_key(call: Call, value: bytes) -> None:
    call.credential = value


def _authorization(call: Call, value: bytes) -> None:
    if call.credential is None and value[: len(_BEARER)].lower() == _BEARER:
        call.credential = value[len(_BEARER) :].strip()


def _request_id(call: Call, value: bytes) -> None:
    if is_sane(value):
        call.request_id = value


def _traceparent(call: Call, value: bytes) -> None:
    # Two of them are none: nobody can tell which span is meant.
    call.traceparent = b"," if call.traceparent else value


def _tracestate(call: Call, value: bytes) -> None:
    call.tracestate = call.tracestate + b"," + value if call.tracestate else value


def _version(call: Call, value: bytes) -> None:
    call.header_number = parse_version(value) or 0


def _deadline(call: Call, value: bytes) -> None:
    call.deadline_ms = _number(value, "Tollway-Deadline-Ms")
    if call.deadline_ms == 0:
        raise TollwayError(Code.MALFORMED, "Tollway-Deadline-Ms must be at least 1")


def _header_length(call: Call, value: bytes) -> None:
    call.header_length = _number(value, "Inference-Header-Content-Length")
    if call.header_length >= NO_HEADER:
        raise TollwayError(Code.MALFORMED, "Inference-Header-Content-Length is too large")


def _content_length(call: Call, value: bytes) -> None:
    # Whatever cannot be counted is too large, not malformed.
    longer = value.isdigit() and len(value) > MAX_NUMBER_DIGITS
    call.content_length = 10**MAX_NUMBER_DIGITS if longer else _number(value, "Content-Length")


def _content_type(_call: Call, value: bytes) -> None:
    media_type = value.partition(b";")[0].strip().lower()
    if media_type not in _JSON_TYPES:
        raise TollwayError(
            Code.UNSUPPORTED_MEDIA_TYPE,
            "send 'Content-Type: application/json', or application/octet-stream for binary tensors",
        )


def _content_encoding(call: Call, value: bytes) -> None:
    call.content_coding = content_coding(value)


def _accept_encoding(call: Call, value: bytes) -> None:
    call.accepted_coding = accepted_coding(value)


def _accept(_call: Call, value: bytes) -> None:
    for part in value.split(b","):
        media_type, _, parameters = part.partition(b";")
        if media_type.strip().lower() in _ACCEPTABLE and parameters.strip() != b"q=0":
            return
    raise TollwayError(
        Code.NOT_ACCEPTABLE, "answers are application/json: accept it, or send no Accept header"
    )


def _number(value: bytes, name: str) -> int:
    if not value.isdigit() or len(value) > MAX_NUMBER_DIGITS:
        raise TollwayError(Code.MALFORMED, f"{name} is not a whole number in range")
    return int(value)


_ACCEPTABLE = frozenset({b"*/*", b"application/*", b"", *_JSON_TYPES})
_READERS: dict[bytes, Callable[[Call, bytes], None]] = {
    b"x-api-key": _api_key,
    b"authorization": _authorization,
    b"x-request-id": _request_id,
    b"traceparent": _traceparent,
    b"tracestate": _tracestate,
    b"tollway-version": _version,
    b"tollway-deadline-ms": _deadline,
    b"inference-header-content-length": _header_length,
    b"content-length": _content_length,
    b"content-type": _content_type,
    b"content-encoding": _content_encoding,
    b"accept": _accept,
    b"accept-encoding": _accept_encoding,
    b"origin": _origin,
    b"x-forwarded-for": _forwarded_for,
}
_SINGLE = frozenset(
    {
        b"x-api-key", b"authorization", b"tollway-version", b"tollway-deadline-ms", b"content-type",
        b"content-encoding", b"inference-header-content-length",
    }
)  # fmt: skip
"""Fields that a request has once."""
_CALLER = frozenset({b"x-api-key", b"authorization", b"origin", b"x-forwarded-for"})
HEADERS_READ = frozenset(name.decode() for name in _READERS)
"""Request headers that have a meaning here."""


async def send_answer(answer: Answer, send: Send) -> None:
    """Send an answer as ASGI events."""
    headers = answer.headers
    headers.append((b"content-length", b"%d" % len(answer.body)))
    if answer.closes:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
