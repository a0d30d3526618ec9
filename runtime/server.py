"""Runs an ASGI application on uvicorn until told to stop."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator

import uvicorn

from runtime.start import StartError

BACKLOG = 2048
"""Connections that may wait to be accepted."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on ``host:port``. Raises :class:`StartError` when it cannot."""
    try:
        return socket.create_server(
            (host, port),
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            backlog=BACKLOG,
        )
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StartError(
            f"cannot listen on {host}:{port}: {reason}. "
            "Stop what uses it, or choose another address or port with --host and --port"
        ) from None


class _Server(uvicorn.Server):
    """uvicorn, without its own signal handlers: the process decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_until(
    stop: asyncio.Event,
    config: uvicorn.Config,
    sockets: list[socket.socket] | None = None,
    *,
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """Serve until ``stop`` is set, then answer what is in flight within the configuration's
    ``timeout_graceful_shutdown``. Raises when the server ends by itself.

    ``stopping`` is called when ``stop`` is set: there requests that wait for something are told to
    end, for the server waits for them.
    """
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets))
    told = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            raise RuntimeError("the HTTP server ended unexpectedly") from serving.exception()
        stopping()
        server.should_exit = True
        await serving
    finally:
        told.cancel()
        serving.cancel()
        await asyncio.gather(told, serving, return_exceptions=True)
