"""The embedded stack's data directory: made, checked, and locked against a second stack."""

import json
import os
from pathlib import Path

from runtime.files import lock_folder, write_atomically
from runtime.start import StartError

FORMAT = 1
"""Raised when an older ``tollwayd`` could no longer read the directory."""
MARKER = "tollway.json"


def open_data_directory(path: Path) -> int:
    """Prepare ``path`` for this process. Returns the descriptor that holds its lock.

    Raises :class:`StartError` when it cannot be written, belongs to a newer version, or is in use.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = lock_folder(path)
    except OSError as error:
        raise StartError(
            f"the data directory {path} cannot be used: {error.strerror}. "
            "Choose another with --data, or mend its permissions"
        ) from None
    try:
        _check_format(path / MARKER)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _check_format(marker: Path) -> None:
    try:
        found = int(json.loads(marker.read_bytes())["format"])
    except FileNotFoundError:
        _write_marker(marker)
        return
    except (ValueError, KeyError, TypeError, OSError):
        raise StartError(
            f"{marker} is damaged: restore it from a backup, or choose another directory "
            "with --data"
        ) from None
    if found > FORMAT:
        raise StartError(
            f"the data directory {marker.parent} belongs to a newer tollwayd (format {found}, this "
            f"one knows {FORMAT}): run that version, or choose another directory with --data"
        )


def _write_marker(marker: Path) -> None:
    try:
        write_atomically(marker, json.dumps({"format": FORMAT}).encode() + b"\n")
    except OSError as error:
        raise StartError(
            f"the data directory {marker.parent} cannot be written: {error.strerror}. "
            "Choose another with --data, or mend its permissions"
        ) from None
