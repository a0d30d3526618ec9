"""Requests of httpx clients to control, over connections that cost their loop little."""

import contextlib
from collections.abc import AsyncIterator, Iterator

import httpx

from runtime.control_connection import ControlConnection, ControlLost, chunked, request_head
from runtime.control_connections import ControlConnections


class ControlTransport(httpx.AsyncBaseTransport):
    """Sends each request by a connection of its own for that time.

    Bodies of requests are sent as a whole. Raises httpx's own errors. Of a request's timeouts,
    those to connect and to read hold.
    """

    def __init__(self, url: str) -> None:
        """``url``: ``unix:/path`` or ``http(s)://host[:port]``."""
        self._connections = ControlConnections(url)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Control's answer, whose body is still to be read."""
        limits = request.extensions.get("timeout", {})
        try:
            connection = await self._connections.take(timeout_s=limits.get("connect"))
        except TimeoutError as error:
            raise httpx.ConnectTimeout("control takes no connection", request=request) from error
        except OSError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        body = _Body(self._connections, connection, request)
        try:
            head = request_head(request.method, request.url.raw_path, request.headers.raw)
            connection.begin(
                head + await _content(request),
                bodiless=request.method == "HEAD",
                silence_s=limits.get("read"),
            )
            with _as_httpx_says(request):
                status, headers = await connection.head()
        except BaseException:
            await body.aclose()
            raise
        return httpx.Response(status, headers=headers, stream=body, request=request)

    async def aclose(self) -> None:
        """Close what is idle."""
        self._connections.close()


class _Body(httpx.AsyncByteStream):
    """An answer's body; the connection is given back at its end, or when it is let go."""

    def __init__(
        self, connections: ControlConnections, connection: ControlConnection, request: httpx.Request
    ) -> None:
        self._connections = connections
        self._connection = connection
        self._request = request
        self._lent = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        connection = self._connection
        more = True
        while more:
            with _as_httpx_says(self._request):
                piece = await connection.read()
            more = not connection.complete
            yield piece

    async def aclose(self) -> None:
        if self._lent:
            self._lent = False
            self._connections.give(self._connection)


@contextlib.contextmanager
def _as_httpx_says(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except ControlLost as error:
        raise httpx.RemoteProtocolError(str(error), request=request) from error
    except TimeoutError as error:
        raise httpx.ReadTimeout("control says nothing", request=request) from error


async def _content(request: httpx.Request) -> bytes:
    content = await request.aread()
    return chunked(content, last=True) if "transfer-encoding" in request.headers else content
