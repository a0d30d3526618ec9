"""Key sets on disk, so that a process which starts while an issuer is away still knows its keys."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from runtime.files import write_atomically


class KeptKeySet(NamedTuple):
    """A set as it was fetched, and how long ago, in seconds."""

    body: bytes
    age_s: float


class _File(msgspec.Struct, frozen=True):
    name: str
    uri: str
    fetched_at: float
    """UNIX seconds."""
    body: bytes


class KeptKeySets:
    """One file per issuer in ``folder``, which is private to this process. Calls block."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        """``now`` gives UNIX seconds."""
        self._folder = folder
        self._now = now

    def load(self, name: str, uri: str) -> KeptKeySet | None:
        """The set that was last fetched from ``uri``; None where there is none that can be read."""
        try:
            found = msgspec.json.decode(self._path(name).read_bytes(), type=_File)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        if (found.name, found.uri) != (name, uri):
            return None
        return KeptKeySet(found.body, max(0.0, self._now() - found.fetched_at))

    def save(self, name: str, uri: str, body: bytes) -> None:
        """Keep a set that was fetched now. Raises ``OSError``."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = _File(name, uri, self._now(), body)
        write_atomically(self._path(name), msgspec.json.encode(file), 0o600)

    def remove(self, name: str) -> None:
        """Keep the issuer's set no longer. Raises ``OSError``."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"
