"""Raw HTTP over sockets to both lanes."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn

from gateway.app import Gateway
from runtime.server import serve_until
from runtime.strict_http import StrictHttpProtocol

INFER = b"/v2/models/iris/infer"
LANES = ("fast", "asgi")
KEEP_ALIVE_S: Any = 0.3  # uvicorn says int, and any number works


def configured(gateway: Gateway, lane: str, tls: Path | None = None) -> uvicorn.Config:
    """As the gateway configures its server. ``tls``: folder of ``chain.pem`` and ``key.pem``"""
    return uvicorn.Config(
        gateway.application,
        http=gateway.fast_lane.protocol() if lane == "fast" else StrictHttpProtocol,
        lifespan="off", ws="none", log_config=None, server_header=False, proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=2,
        ssl_certfile=tls and tls / "chain.pem", ssl_keyfile=tls and tls / "key.pem",
    )  # fmt: skip


@asynccontextmanager
async def serving(gateway: Gateway, tls: Path | None = None) -> AsyncIterator[dict[str, int]]:
    """A port for each lane."""
    stop = asyncio.Event()
    found: dict[str, int] = {}
    servers = []
    for lane in LANES:
        listener = socket.create_server(("127.0.0.1", 0))
        found[lane] = listener.getsockname()[1]
        config = configured(gateway, lane, tls)
        servers.append(asyncio.create_task(serve_until(stop, config, [listener])))
    yield found
    stop.set()
    await asyncio.gather(*servers)


@asynccontextmanager
async def connection(
    port: int, limit: int = 1 << 16, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, limit=limit, ssl=tls, server_hostname="localhost" if tls else None
    )
    try:
        yield reader, writer
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def request(
    key: str, body: bytes = b"{}", *, path: bytes = INFER, method: bytes = b"POST",
    headers: dict[str, str] | None = None, length: bool = True,
) -> bytes:  # fmt: skip
    lines = {"Host": "gateway", "X-API-Key": key, "Content-Type": "application/json"}
    lines |= {"Content-Length": str(len(body))} if length else {}
    lines |= headers or {}
    head = b"".join(f"{k}: {v}\r\n".encode() for k, v in lines.items() if v is not None)
    return method + b" " + path + b" HTTP/1.1\r\n" + head + b"\r\n" + body


async def talk(port: int, *parts: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """Send the parts, then read until the server closes (it does after its keep-alive time)."""
    async with connection(port, tls=tls) as (reader, writer), asyncio.timeout(20):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)  # so that each part is a packet of its own
        return await reader.read()
