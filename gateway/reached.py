"""How far each version had come, as this gateway believed it: no version goes back.

The seal of an earlier record is genuine, so it alone would bring a withdrawn version back. What was
reached is therefore kept beside what the change stream says, in a file of its own: a stream that
starts over, or a journal written from it, takes nothing away.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from protocol.configuration import VersionDoc, VersionState, may_follow
from runtime.files import write_atomically
from runtime.logs import logger
from runtime.start import StartError

FILE: Final = "reached.jsonl"
_SPARE_LINES: Final = 1000
"""Superseded lines beyond as many as there are versions, before the file is written anew."""


class _Line(msgspec.Struct, frozen=True, array_like=True):
    model: str
    number: int
    digest: str
    state: VersionState

    @property
    def key(self) -> tuple[str, int, str]:
        """With the digest: a number that another manifest has is another version."""
        return self.model, self.number, self.digest


class Reached:
    """The furthest state of each version, in a file that is appended to."""

    def __init__(self, path: Path | None = None) -> None:
        """``path``: None keeps nothing beyond this process. Raises :class:`StartError` for a file
        that is damaged before its last line, which an end of the process may have torn."""
        self._path = path
        self._lines: dict[tuple[str, int, str], _Line] = {}
        self._unwritten: list[_Line] = []
        self._written = 0
        self._is_whole = True
        if path is not None and path.exists():
            self._load(path)

    def before(self, document: VersionDoc) -> VersionState | None:
        """The state that was reached and that the document's lies behind; None: it does not."""
        line = self._lines.get((document.model, document.number, document.digest))
        if line is None or may_follow(line.state, document.state):
            return None
        return line.state

    def note(self, document: VersionDoc) -> None:
        """The document is believed."""
        line = _Line(document.model, document.number, document.digest, document.state)
        if self._lines.get(line.key) != line:
            self._lines[line.key] = line
            self._unwritten.append(line)

    def keep(self) -> None:
        """Write what was noted. What the disk does not take is said, and written with the next."""
        if self._path is None or not (self._unwritten or not self._is_whole):
            return
        try:
            if self._is_whole and self._written < 2 * len(self._lines) + _SPARE_LINES:
                self._append(self._path)
            else:
                self._rewrite(self._path)
        except OSError as error:
            self._is_whole = False  # it may end with a torn line
            logger("gateway").error("states of versions cannot be written", error=str(error))
            return
        self._unwritten.clear()

    def _append(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "ab") as file:
            file.write(_encoded(self._unwritten))
        self._written += len(self._unwritten)

    def _rewrite(self, path: Path) -> None:
        write_atomically(path, _encoded(list(self._lines.values())), 0o600)
        self._written = len(self._lines)
        self._is_whole = True

    def _load(self, path: Path) -> None:
        try:
            *whole, torn = path.read_bytes().split(b"\n")
            lines = [msgspec.json.decode(line, type=_Line) for line in whole]
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StartError(
                f"the states that versions had reached, {path}, cannot be read: {error}. Remove "
                "the file to believe what control says of them now"
            ) from None
        self._lines = {line.key: line for line in lines}
        self._written = len(lines)
        self._is_whole = not torn


def _encoded(lines: list[_Line]) -> bytes:
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
