"""Cross-origin requests (CORS, the Fetch standard): what browsers may send, and pages may read.

A preflight carries no credential, so nobody can tell whose request it announces. It is answered as
soon as any application allows the page's origin, and it decides nothing: the request that follows
is refused unless the calling application itself allows the origin, and only then may the page read
the answer. What is answered without knowing who calls (a missing or wrong credential, metadata that
is open to all) is read by the preflight's rule: it holds nothing of anybody, and a page that cannot
read why it was refused sees nothing but a failed network. Credentials in the standard's sense
(cookies, TLS certificates) are never allowed.
"""

from collections.abc import Iterable

from gateway.answer import Answer, Headers, error_answer, readable_by
from gateway.lane import Application, Receive, Scope, Send, read_caller, send_answer
from policies.base import Call, Policy
from policies.chain import Chain
from policies.origins import OriginPolicy
from protocol.errors import Code, TollwayError

DATA_PLANE = ("/v1/", "/v2/")
MAX_AGE_S = 600
"""How long a browser may remember the answer to a preflight."""
METHODS = b"GET, POST"
REQUEST_HEADERS = (
    b"authorization, content-type, inference-header-content-length, tollway-deadline-ms, "
    b"tollway-version, traceparent, tracestate, x-api-key, x-request-id"
)
"""Headers that pages may set."""
VARY = (b"vary", b"Origin")


def preflight(origins: OriginPolicy, headers: Iterable[tuple[bytes, bytes]]) -> Answer | None:
    """The answer to an OPTIONS request by which a browser asks; None when it is not one."""
    origin = requested = None
    for name, value in headers:
        if name == b"origin":
            origin = value
        elif name == b"access-control-request-method":
            requested = value
    if origin is None or requested is None:
        return None
    if not origins.allowed_by_any(origin):
        refusal = "no application allows pages of this origin: add it to the application that calls"
        return error_answer(TollwayError(Code.FORBIDDEN, refusal), [VARY])
    return Answer(
        200,
        [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", REQUEST_HEADERS),
            (b"access-control-max-age", b"%d" % MAX_AGE_S),
            VARY,
        ],
        b"",
    )


def for_page(origins: OriginPolicy, call: Call) -> Headers:
    """The headers by which the page that sent ``call`` may read its answer, or may not. Caches must
    know either way that the answer depends on who asks."""
    if call.origin is not None and origins.may_read(call):
        return readable_by(call.origin)
    return [VARY]


class CrossOrigin:
    """An ASGI layer over the data plane's other paths: metadata, health, statistics.

    Predictions do not come this way; their policies and :mod:`gateway.invoke` do the same.
    """

    def __init__(self, application: Application, identify: Policy, origins: OriginPolicy) -> None:
        self._application = application
        self._origins = origins
        self._chain = Chain([identify.check, origins.check])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
        if scope["type"] != "http" or not is_data_plane(scope["path"]):
            await self._application(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            answer = preflight(self._origins, scope["headers"])
            if answer is not None:
                await send_answer(answer, send)
                return
        call = Call(model="")
        read_caller(call, scope["headers"])
        if call.origin is not None and call.credential is not None:
            try:
                await self._chain.passed(call)
            except TollwayError as error:
                if call.identity is not None:
                    await send_answer(error_answer(error, for_page(self._origins, call)), send)
                    return
                # Nobody's page: it gets what is open.
        await self._application(scope, receive, _telling(for_page(self._origins, call), send))


def is_data_plane(path: str) -> bool:
    """Whether pages may be allowed to call this path."""
    return path == "/v2" or path.startswith(DATA_PLANE)


def _telling(headers: Headers, send: Send) -> Send:
    async def sending(message: Scope) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return sending
