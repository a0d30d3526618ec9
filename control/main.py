"""The control process: ``tollwayd control``."""

import asyncio
import socket
from pathlib import Path

import uvicorn

from control.app import Application, create_app
from control.services import Services
from control.settings import ControlSettings
from control.store.failures import DatabaseError
from runtime.logs import configure_logs, logger
from runtime.priority import step_aside
from runtime.process import run, set_title
from runtime.server import serve_until
from runtime.start import StartError, refusing
from runtime.strict_http import StrictHttpProtocol

GRACE_S = 2
"""How long requests under way may take to end when the process is told to."""
KEEP_ALIVE_S = 75
BACKLOG = 512


def main() -> None:
    """Serve until SIGTERM, SIGINT or the parent's death. Exits with 1 and one line on stderr when
    it cannot start."""
    set_title("control")
    with refusing():
        settings = ControlSettings()
        configure_logs("control", settings.log_level, settings.log_format)
        if settings.few_processors:
            step_aside()
        try:
            app = create_app(settings)
        except DatabaseError as error:
            reason = str(error).splitlines()[0]
            raise StartError(f"the database cannot be used: {reason}") from None
        listener = listen(settings.bind)

    async def serving(stop: asyncio.Event) -> None:
        await serve(app, listener, stop)

    run(serving)
    if settings.bind.startswith("unix:"):
        Path(settings.bind.removeprefix("unix:")).unlink(missing_ok=True)


async def serve(app: Application, listener: socket.socket, stop: asyncio.Event) -> None:
    """Serve ``app`` on ``listener`` until ``stop`` is set, then end within a few seconds. Raises
    when the server ends by itself."""
    config = uvicorn.Config(
        app,
        http=StrictHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    services: Services = app.state.services

    def stopping() -> None:
        logger("control").info("stopping")
        # Long polls are requests under way: they are answered now, or they would be waited for.
        services.notifier.close()
        services.streams.end()

    await serve_until(stop, config, [listener], stopping=stopping)


def listen(bind: str) -> socket.socket:
    """A listening socket at ``host:port``, or at ``unix:/path`` for this user alone."""
    if not bind.startswith("unix:"):
        host, _, port = bind.rpartition(":")
        if not host or not port.isdecimal():
            raise OSError(f"TOLLWAY_BIND is 'host:port' or 'unix:/path', not {bind!r}")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server(
            (host.strip("[]"), int(port)), family=family, backlog=BACKLOG, reuse_port=False
        )
    path = Path(bind.removeprefix("unix:"))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.is_socket():
        _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of a process that was killed; refuse to take that of one that lives."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(f"another process listens at {path}")


if __name__ == "__main__":
    main()
