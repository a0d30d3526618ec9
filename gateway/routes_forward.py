"""Passes every path that is not the data plane's on to control, streaming both ways."""

import asyncio
from http import HTTPStatus
from posixpath import normpath
from typing import Final

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from policies.addresses import TrustedProxies
from protocol import problems
from protocol.errors import Code
from runtime.control_connection import (
    ControlConnection,
    ControlLost,
    Headers,
    chunked,
    request_head,
)
from runtime.control_connections import ControlConnections
from runtime.logs import logger

HOP_BY_HOP: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te",
        b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection",
    }
)  # fmt: skip
"""RFC 9110, 7.6.1: these belong to one connection."""
_FORWARDED: Final = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
)
_DROPPED: Final = HOP_BY_HOP | _FORWARDED
_FRAMING: Final = frozenset({b"content-length", b"host", b"expect"})
"""What no ``Connection`` header takes away: control must see the same request as this gateway."""
_OWN: Final = HOP_BY_HOP | {b"date"}
"""What an answer gets from this server; a second ``Date`` would be one too many."""
_SCHEMES: Final = frozenset({b"http", b"https"})
INTERNAL_PREFIX: Final = "/internal"
CONTROL_SILENCE_S: Final = 600.0
"""How long control may say nothing while it is waited for, or take nothing of an upload."""
CLIENT_SILENCE_S: Final = 120.0
"""How long the next piece of a request's body may take to come."""


class ControlProxy:
    """A reverse proxy with one upstream, control, as an ASGI application."""

    def __init__(self, connections: ControlConnections, proxies: TrustedProxies) -> None:
        """``proxies``: whose ``X-Forwarded-*`` is believed."""
        self._connections = connections
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Control's answer to a request; 404 for internal paths, 503 when control is away."""
        if is_internal(scope["path"]):
            refused = problem(Code.NOT_FOUND, "there is nothing at this path")
        elif not scope["raw_path"].startswith(b"/"):
            refused = problem(Code.MALFORMED, "the request's target is not a path")
        else:
            upload = _Upload(scope["headers"], receive)
            begun = await upload.first()
            failure = upload.failure or await self._answer(scope, upload, begun, send)
            if failure is None:
                return
            refused = failure
        await refused(scope, receive, send)

    async def _answer(
        self, scope: Scope, upload: "_Upload", begun: bytes, send: Send
    ) -> Response | None:
        """Have control answer; what to answer instead where it did not even begin to."""
        query: bytes = scope["query_string"]
        target = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
        request = request_head(scope["method"], target, self._headers(scope, upload)) + begun
        repeatable = not upload.has_body and scope["method"] in {"GET", "HEAD"}
        fresh = False
        while True:
            try:
                connection = await self._connections.take(fresh=fresh)
            except OSError:  # TimeoutError is one
                return away()
            try:
                bodiless = scope["method"] == "HEAD"
                connection.begin(request, bodiless=bodiless, silence_s=CONTROL_SILENCE_S)
                await _exchange(connection, upload, send)
            except TimeoutError:
                return away()
            except ControlLost:
                # Control may have closed a kept connection just when it was used again.
                if fresh or not (connection.used and repeatable):
                    return upload.failure or away()
                fresh = True
            else:
                return None
            finally:
                self._connections.give(connection)

    def _headers(self, scope: Scope, upload: "_Upload") -> Headers:
        """The client's headers as they came, bytes and all, less those of its connection."""
        given: Headers = scope["headers"]
        named = (value.lower().split(b",") for name, value in given if name == b"connection")
        drop = _DROPPED | ({one.strip() for names in named for one in names} - _FRAMING)
        headers = [(name, value) for name, value in given if name not in drop]
        if all(name != b"host" for name, _ in given):  # HTTP/1.0 need not say one
            headers.append((b"host", b"control"))
        if scope["client"] is not None:
            # What a client claims here is dropped: control trusts this header.
            peer: str = scope["client"][0]
            client = self._proxies.client(peer, _joined(given, b"x-forwarded-for")) or peer
            headers.append((b"x-forwarded-for", client.encode()))
        headers.append((b"x-forwarded-proto", self._scheme(scope)))
        if upload.chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        return headers

    def _scheme(self, scope: Scope) -> bytes:
        """How the client came: where TLS ends at a trusted proxy, that one says so."""
        claimed = _joined(scope["headers"], b"x-forwarded-proto").rpartition(b",")[2]
        claimed = claimed.strip().lower()
        peer = "" if scope["client"] is None else scope["client"][0]
        if claimed in _SCHEMES and self._proxies.trusts(peer):
            return claimed
        scheme: str = scope["scheme"]
        return scheme.encode()


class _Upload:
    """A request's body on its way to control, and its client, who may leave."""

    def __init__(self, headers: Headers, receive: Receive) -> None:
        named = dict(headers)  # the last of a name holds, as at control
        self._receive = receive
        self._expects = named.get(b"expect", b"").lower() == b"100-continue"
        self.chunked = b"transfer-encoding" in named
        self.has_body = self.chunked or b"content-length" in named
        self.sent = not self.has_body
        """Whether the body has been passed on to its end."""
        self.failure: Response | None = None
        """What to answer, if anybody is there, when the body did not come."""

    async def first(self) -> bytes:
        """What is there of the body now: most are small, and leave with the head. Nothing of one
        that waits to be asked for."""
        return b"" if self.sent or self._expects else await self._next()

    async def send_to(self, connection: ControlConnection) -> None:
        """Send what is left, then wait until the client leaves; it takes the request with it."""
        if self._expects and not await connection.invited:
            return  # control has answered without the body
        try:
            while not self.sent:
                connection.write(await self._next())
                await connection.drain()
            while self.failure is None:
                self._note(await self._receive())
        except TimeoutError:
            logger("gateway").warning("control takes nothing more of an upload")
        except Exception:  # a defect: without this end the answer would be waited for
            logger("gateway").exception("an upload could not be passed on")
        connection.close()

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(CLIENT_SILENCE_S):
                message = await self._receive()
        except TimeoutError:
            self.sent = True
            late = f"the next piece of the body did not come within {CLIENT_SILENCE_S:.0f} s"
            self.failure = problem(Code.MALFORMED, late, status=HTTPStatus.REQUEST_TIMEOUT)
            return b""
        self._note(message)
        body: bytes = message.get("body", b"")
        return chunked(body, last=self.sent and self.failure is None) if self.chunked else body

    def _note(self, message: Message) -> None:
        self.sent = not message.get("more_body", False)
        if message["type"] == "http.disconnect":
            self.failure = Response(status_code=400)  # nobody is there to read it


async def _exchange(connection: ControlConnection, upload: _Upload, send: Send) -> None:
    """Pass the rest of a request on, and its answer back. Raises what the connection does, where
    nothing of an answer has come; one that breaks off is broken off here, too."""
    watching = None if upload.sent else asyncio.create_task(upload.send_to(connection))
    try:
        status, headers = await connection.head()
        passed = [pair for pair in headers if pair[0] not in _OWN]
        await send({"type": "http.response.start", "status": status, "headers": passed})
        more = True
        while more:
            if watching is None and not connection.has_news:
                watching = asyncio.create_task(upload.send_to(connection))
            try:
                body = await connection.read()
            except (ControlLost, TimeoutError):
                if upload.failure is None:
                    logger("gateway").warning("an answer of control broke off")
                return
            more = not connection.complete
            await send({"type": "http.response.body", "body": body, "more_body": more})
    finally:
        if not upload.sent or upload.failure is not None:
            connection.close()
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


def is_internal(path: str) -> bool:
    """Whether a path, however it is spelled, could reach control's internal routes."""
    tidy = normpath("/" + path.lstrip("/"))
    return tidy == INTERNAL_PREFIX or tidy.startswith(INTERNAL_PREFIX + "/")


def problem(code: Code, detail: str, *, status: int = 0) -> Response:
    """An RFC 9457 problem."""
    found = problems.problem(code, detail, status=status)
    headers = {"Retry-After": "1"} if code is Code.UNAVAILABLE else None
    return Response(problems.encode(found), found.status, headers, problems.MEDIA_TYPE)


def away() -> Response:
    """What is answered when control does not."""
    return problem(
        Code.UNAVAILABLE,
        "management is not available now; predictions are not affected. Try again soon",
    )


def _joined(headers: Headers, wanted: bytes) -> bytes:
    return b",".join(value for name, value in headers if name == wanted)
