"""Where engines listen: a socket in the run directory, or one of the TCP ports set aside."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from serving.settings import WorkerSettings

SOCKET_PATH_BYTES: Final = 100

_Slot = tuple[str, int, int]


class Place(NamedTuple):
    """One engine's place, until it is left."""

    address: str
    """``unix:/path`` or ``tcp:host:port``, as this machine has it."""
    advertised: str
    """The same as gateways reach it."""
    leave: Callable[[], None]
    """Another engine may have it."""


class Places:
    """Gives each engine a place of its own, and a slot's next engine the same one where it can."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._used: set[int] = set()
        self._before: dict[_Slot, int] = {}

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
        port = self._port((model, version, slot))
        host = settings.engine_advertised_host or settings.engine_host
        return Place(
            f"tcp:{settings.engine_host}:{port}",
            f"tcp:{host}:{port}",
            partial(self._used.discard, port),
        )

    def _port(self, slot: _Slot) -> int:
        first = self._settings.engine_first_port
        free = [
            port
            for port in range(first, first + self._settings.engine_ports)
            if port not in self._used
        ]
        if not free:
            raise ValueError("every TCP port for engines is in use: raise TOLLWAY_ENGINE_PORTS")
        own = self._before.get(slot)
        if own not in free:
            others = set(self._before.values())
            own = next((port for port in free if port not in others), free[0])
            # Nobody else may count on it any more.
            self._before = {key: port for key, port in self._before.items() if port != own}
            self._before[slot] = own
        self._used.add(own)
        return own
