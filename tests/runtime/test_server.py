"""A server that is told to stop, and one that ends by itself."""

import asyncio
import socket

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from runtime.server import serve_until


def configured(app: object, **more: object) -> uvicorn.Config:
    return uvicorn.Config(app, log_config=None, ws="none", **more)  # type: ignore[arg-type]


async def test_requests_that_wait_are_told_of_the_end_and_answered() -> None:
    ends, waiting = asyncio.Event(), asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        waiting.set()
        await ends.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    stop = asyncio.Event()
    config = configured(app, lifespan="off", timeout_graceful_shutdown=20)
    serving = asyncio.create_task(serve_until(stop, config, [listener], stopping=ends.set))
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/"))
        await asyncio.wait_for(waiting.wait(), 20)
        stop.set()
        assert (await answer).status_code == 204
        await asyncio.wait_for(serving, 20)


async def test_a_server_that_ends_by_itself_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ends(*_: object) -> None:
        return

    monkeypatch.setattr(uvicorn.Server, "serve", ends)
    with pytest.raises(RuntimeError, match="ended unexpectedly"):
        await serve_until(asyncio.Event(), configured(None, lifespan="off"))
