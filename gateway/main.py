"""The gateway process."""

import asyncio
import socket

import uvicorn

from gateway.app import Gateway
from gateway.settings import GatewaySettings
from runtime.logs import configure_logs, logger
from runtime.memory import reuse_large_blocks
from runtime.process import run, set_title
from runtime.server import serve_until


def main() -> None:
    """Serve until SIGTERM, SIGINT or the parent's death."""
    settings = GatewaySettings()  # type: ignore[call-arg]  # fields come from the environment
    configure_logs("gateway", settings.log_level)
    set_title("gateway")
    reuse_large_blocks()
    run(lambda stop: serve(settings, stop))


async def serve(settings: GatewaySettings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set; requests in flight are answered before it returns."""
    gateway = Gateway(settings)
    config = uvicorn.Config(
        gateway.application,
        host=settings.host,
        port=settings.port,
        http=gateway.fast_lane.protocol(),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(settings.shutdown_grace_s),
        ssl_certfile=settings.tls_certificate_file,
        ssl_keyfile=settings.tls_key_file,
        backlog=2048,
    )
    inherited = None
    if settings.listen_fd is not None:
        inherited = [socket.socket(fileno=settings.listen_fd)]
    async with gateway.running():
        stopping = asyncio.create_task(_announce(stop, gateway))
        try:
            await serve_until(stop, config, inherited)
        finally:
            stopping.cancel()
    logger("gateway").info("stopped")


async def _announce(stop: asyncio.Event, gateway: Gateway) -> None:
    """Readiness turns false as soon as the gateway is asked to stop."""
    await stop.wait()
    gateway.routes.stopping = True
