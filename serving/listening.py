"""Where gateways connect to: a private Unix socket, or a TCP port."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Final

from serving.connection import Connection, Service

BACKLOG: Final = 256


async def listen(service: Service, address: str) -> asyncio.Server:
    """Listen on ``unix:/path`` or ``tcp:host:port``."""
    loop = asyncio.get_running_loop()
    kind, _, place = address.partition(":")
    if kind == "unix":
        return await loop.create_unix_server(
            lambda: Connection(service), sock=_private_socket(Path(place)), backlog=BACKLOG
        )
    host, _, port = place.rpartition(":")
    return await loop.create_server(
        lambda: Connection(service), host.strip("[]"), int(port), backlog=BACKLOG
    )


def _private_socket(path: Path) -> socket.socket:
    """A socket of mode 0600 from its first moment, in the place of a dead engine's."""
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        bound.bind(str(path))
    finally:
        os.umask(old)
    return bound
