"""Where engines listen: a socket in the run directory, or one of the TCP ports set aside."""

import hashlib
from collections.abc import Callable
from typing import Final, NamedTuple

from serving.settings import WorkerSettings

SOCKET_PATH_BYTES: Final = 100


class Place(NamedTuple):
    """One engine's place, until it is left."""

    address: str
    """``unix:/path`` or ``tcp:host:port``, as this machine has it."""
    advertised: str
    """The same as gateways reach it."""
    leave: Callable[[], None]
    """Another engine may have it."""


class Places:
    """Gives each engine a place of its own, a slot's successor the same one."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._ports: set[int] = set()

    def take(self, model: str, version: int, slot: int) -> Place:
        """A place for an engine. Raises ``ValueError`` if there is none."""
        settings = self._settings
        if settings.engine_host is None:
            # Names have up to 63 characters, a socket's whole path about 100: a digest is short.
            short = hashlib.sha256(f"{model}/{version}/{slot}".encode()).hexdigest()[:16]
            path = (settings.run_dir / f"{short}.sock").absolute()
            if len(str(path)) > SOCKET_PATH_BYTES:
                raise ValueError(f"the path {path} is too long for a socket: set TOLLWAY_RUN_DIR")
            return Place(f"unix:{path}", f"unix:{path}", lambda: None)
        ports = range(
            settings.engine_first_port, settings.engine_first_port + settings.engine_ports
        )
        port = next((port for port in ports if port not in self._ports), None)
        if port is None:
            raise ValueError("every TCP port for engines is in use: raise TOLLWAY_ENGINE_PORTS")
        self._ports.add(port)
        host = settings.engine_advertised_host or settings.engine_host
        return Place(
            f"tcp:{settings.engine_host}:{port}",
            f"tcp:{host}:{port}",
            lambda: self._ports.discard(port),
        )
