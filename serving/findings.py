"""What was found of a version while it served, kept on disk: an engine started again knows it."""

from pathlib import Path
from typing import Final

import msgspec

from protocol.configuration import AlertDoc
from runtime.files import write_atomically

_SUFFIX: Final = ".json"


class Findings:
    """One file for each manifest digest of which something was found."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, digest: str) -> AlertDoc | None:
        """What was found of this manifest. Raises ``OSError`` where it cannot be read."""
        try:
            text = self._path(digest).read_bytes()
        except FileNotFoundError:
            return None
        return msgspec.json.decode(text, type=AlertDoc)

    def keep(self, digest: str, alert: AlertDoc) -> None:
        """Remember it. The file appears whole or not at all, also where several engines find
        something at once: the last one's stays."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self._path(digest), msgspec.json.encode(alert))

    def _path(self, digest: str) -> Path:
        return self._folder / (digest.replace(":", "-") + _SUFFIX)
