"""Passes every path that is not the data plane's on to control, streaming both ways."""

from collections.abc import AsyncIterator
from posixpath import normpath

import httpx
from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from policies.addresses import TrustedProxies
from protocol import problems
from protocol.errors import Code
from runtime.addresses import control_transport
from runtime.cookies import no_cookies

HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade", "proxy-connection",
    }
)  # fmt: skip
"""RFC 9110, 7.6.1: these belong to one connection."""
_FORWARDED = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"})
_OWN = HOP_BY_HOP | {"date"}
"""What an answer gets from this server; a second ``Date`` would be one too many."""
_SCHEMES = frozenset({"http", "https"})
INTERNAL_PREFIX = "/internal"
PROXY_TIMEOUT = httpx.Timeout(10.0, read=600.0, write=600.0)
PROXY_CONNECTIONS = 200


class ControlProxy:
    """A reverse proxy with one upstream, control."""

    def __init__(self, client: httpx.AsyncClient, proxies: TrustedProxies) -> None:
        """``client`` must carry no credential of its own: callers bring theirs."""
        self._client = client
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application, so that any method passes."""
        response = await self.answer(Request(scope, receive))
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """Control's answer to ``request``; 404 for internal paths, 503 when control is away."""
        if is_internal(request.scope["path"]):
            return problem(Code.NOT_FOUND, "there is nothing at this path")
        raw_path: bytes = request.scope["raw_path"]
        if not raw_path.startswith(b"/"):
            return problem(Code.MALFORMED, "the request's target is not a path")
        target = self._client.base_url.copy_with(
            raw_path=raw_path + _query(request.scope["query_string"])
        )
        upstream = self._client.build_request(
            request.method, target, headers=self._headers(request), content=_content(request)
        )
        try:
            response = await self._client.send(upstream, stream=True)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except httpx.HTTPError:
            return problem(
                Code.UNAVAILABLE,
                "management is not available now; predictions are not affected. Try again soon",
            )
        answer = StreamingResponse(_body(response), status_code=response.status_code)
        answer.raw_headers = [
            (name.lower(), value)
            for name, value in response.headers.raw
            if name.lower().decode("latin-1") not in _OWN
        ]
        return answer

    def _headers(self, request: Request) -> list[tuple[bytes, bytes]]:
        """The client's headers as they came, bytes and all, less those of this connection."""
        named = {h.strip().lower() for h in request.headers.get("connection", "").split(",")}
        drop = {name.encode("latin-1") for name in HOP_BY_HOP | _FORWARDED | named}
        headers = [(name, value) for name, value in request.headers.raw if name not in drop]
        if request.client is not None:
            # What a client claims here is dropped: control trusts this header.
            claimed = ",".join(request.headers.getlist("x-forwarded-for")).encode("latin-1")
            client = self._proxies.client(request.client.host, claimed) or request.client.host
            headers.append((b"x-forwarded-for", client.encode()))
        headers.append((b"x-forwarded-proto", self._scheme(request).encode()))
        return headers

    def _scheme(self, request: Request) -> str:
        """How the client came: where TLS ends at a trusted proxy, that one says so."""
        claimed = request.headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
        peer = "" if request.client is None else request.client.host
        if claimed in _SCHEMES and self._proxies.trusts(peer):
            return claimed
        return request.url.scheme


def is_internal(path: str) -> bool:
    """Whether a path, however it is spelled, could reach control's internal routes."""
    tidy = normpath("/" + path.lstrip("/"))
    return tidy == INTERNAL_PREFIX or tidy.startswith(INTERNAL_PREFIX + "/")


def problem(code: Code, detail: str) -> Response:
    """An RFC 9457 problem."""
    found = problems.problem(code, detail)
    headers = {"Retry-After": "1"} if code is Code.UNAVAILABLE else None
    return Response(problems.encode(found), found.status, headers, problems.MEDIA_TYPE)


async def _body(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    finally:
        await response.aclose()


def _content(request: Request) -> AsyncIterator[bytes] | None:
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    return request.stream() if has_body else None


def _query(query: bytes) -> bytes:
    return b"?" + query if query else b""


def proxy_client(url: str) -> httpx.AsyncClient:
    """A client of control at ``url``, for requests that are passed on: it keeps no cookies, and
    transfers may take minutes."""
    limits = httpx.Limits(max_connections=PROXY_CONNECTIONS, max_keepalive_connections=20)
    return httpx.AsyncClient(
        base_url="http://control" if url.startswith("unix:") else url,
        transport=control_transport(url, limits),
        timeout=PROXY_TIMEOUT,
        trust_env=False,
        cookies=no_cookies(),
    )
