"""The gateway process."""

import asyncio
import os
import socket

import uvicorn

from gateway.app import Gateway, GatewaySecrets
from gateway.settings import GatewaySettings
from runtime.files import lock_folder
from runtime.logs import configure_logs, logger
from runtime.memory import reuse_large_blocks
from runtime.priority import take_short_turns
from runtime.process import run, set_title
from runtime.server import listen, serve_until
from runtime.start import StartError, refusing


def main() -> None:
    """Serve until SIGTERM, SIGINT or the parent's death. Exits with 1 and one line on stderr when
    it cannot start."""
    set_title("gateway")
    take_short_turns()
    with refusing():
        settings = GatewaySettings()  # type: ignore[call-arg]  # fields come from the environment
        configure_logs("gateway", settings.log_level, settings.log_format)
        reuse_large_blocks()
        if settings.listen_fd is None:
            listener = listen(settings.host, settings.port)
        else:
            listener = socket.socket(fileno=settings.listen_fd)
        secrets = GatewaySecrets.read(settings)
        folder = settings.data_dir / "gateway"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Another gateway here would ship, and delete, the usage log that this one writes.
        lock = lock_folder(folder)
    try:
        run(lambda stop: serve(settings, secrets, listener, stop))
    except StartError as refusal:  # control's: at the start, or when it was back
        with refusing():
            raise refusal from None
    os.close(lock)


async def serve(
    settings: GatewaySettings,
    secrets: GatewaySecrets,
    listener: socket.socket,
    stop: asyncio.Event,
) -> None:
    """Serve until ``stop`` is set; requests in flight are answered before it returns."""
    gateway = Gateway(settings, secrets)
    config = uvicorn.Config(
        gateway.application,
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
    )
    async with gateway.running(stop):
        await serve_until(stop, config, [listener])
    logger("gateway").info("stopped")
    if gateway.failure is not None:
        raise gateway.failure  # the supervisor starts a new one
