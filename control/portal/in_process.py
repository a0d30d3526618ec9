"""Calls of an ASGI application in the same process, whose answers are read whole.

As ``httpx.ASGITransport`` does it, which looks for the package ``trio`` on the disk at every call.
"""

import asyncio
from typing import Any, Final

import httpx
from starlette.types import ASGIApp, Message

_CLIENT: Final = ("127.0.0.1", 0)
_EMPTY: Final = {"type": "http.request", "body": b"", "more_body": False}


async def answer_of(app: ASGIApp, request: httpx.Request) -> httpx.Response:
    """What the application answers to ``request``, whose body is bytes. What it raises goes on."""
    status, headers = 500, list[tuple[bytes, bytes]]()
    body = bytearray()
    complete = asyncio.Event()
    pending: list[dict[str, Any]] = [_EMPTY]
    if content := request.read():
        pending = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Message:
        if pending:
            return pending.pop()
        await complete.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))
            if not message.get("more_body", False):
                complete.set()

    try:
        await app(scope_of(request), receive, send)
    finally:
        complete.set()
    return httpx.Response(status, headers=headers, content=bytes(body))


def scope_of(request: httpx.Request) -> dict[str, Any]:
    """The request's head as ASGI has it."""
    url = request.url
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "query_string": url.query,
        "server": (url.host, url.port),
        "client": _CLIENT,
        "root_path": "",
    }
