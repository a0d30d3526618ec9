"""Downloads out of the management API, passed on piece by piece: whatever their size, a few pieces
are held."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx
from fastapi.responses import Response, StreamingResponse

from control.portal.api import Query
from control.portal.in_process import scope_of
from control.portal.session import Visit

MAX_HELD: Final = 4
"""Pieces that wait for a slow reader; then the API waits."""
_KEPT: Final = ("content-type", "content-disposition", "cache-control")


async def download(visit: Visit, path: str, query: Mapping[str, Query]) -> Response:
    """The answer to a ``GET`` of the API, as it comes. Raises ``ApiRefusal``."""
    request = visit.api.request("GET", path, query=query)
    source = _Source(visit.request.app, request)
    status, headers = await source.begin()
    if status >= 400:  # noqa: PLR2004 -- client and server errors
        content = b"".join([piece async for piece in source.pieces()])
        raise visit.api.refusal(httpx.Response(status, headers=headers, content=content))
    kept = {name: headers[name] for name in _KEPT if name in headers}
    return StreamingResponse(source.pieces(), status, kept)


class _Source:
    """One request to the application in this process."""

    def __init__(self, app: Any, request: httpx.Request) -> None:  # noqa: ANN401 -- an ASGI app
        self._messages: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue(MAX_HELD)
        self._ended = asyncio.Event()
        self._task = asyncio.create_task(self._run(app, scope_of(request)))

    async def begin(self) -> tuple[int, httpx.Headers]:
        """Status and headers."""
        message = await self._messages.get()
        if message is None:
            self._task.result()  # the defect that ended it
            raise RuntimeError("the API ended without an answer")
        return message["status"], httpx.Headers(message["headers"])

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body. Whoever stops reading ends the request."""
        try:
            while (message := await self._messages.get()) is not None:
                yield message.get("body", b"")
                if not message.get("more_body", False):
                    break
        finally:
            self._ended.set()
            self._task.cancel()

    async def _run(self, app: Any, scope: Mapping[str, Any]) -> None:  # noqa: ANN401
        asked = False

        async def receive() -> Mapping[str, Any]:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await self._ended.wait()
            return {"type": "http.disconnect"}

        try:
            await app(scope, receive, self._messages.put)
        finally:
            await self._messages.put(None)
