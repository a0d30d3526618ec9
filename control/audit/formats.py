"""The audit log as JSON lines: what archives hold, and what can be verified without a database.

A line is ``{"entry": {...}}`` with the entry's fields and its ``hash``, or
``{"checkpoint": {...}}``.
Each checkpoint follows the entry that it is about.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from control import csv_text
from protocol.errors import Code, TollwayError
from registry.chain import FIELDS
from registry.checkpoint import Checkpoint
from registry.clock import rfc3339
from registry.store.audit_read import Recorded
from registry.verification import StoredCheckpoint, StoredEntry

MAX_LINE: Final = 64 << 20
"""Bytes of the longest line that is read."""
_Fields = dict[str, object]


class _Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    entry: _Fields | None = None
    checkpoint: _Fields | None = None


def lines(items: Iterable[StoredEntry | StoredCheckpoint]) -> Iterator[bytes]:
    """The archive's lines."""
    for item in items:
        if isinstance(item, StoredEntry):
            yield msgspec.json.encode(_Line(entry={**item.fields, "hash": item.hash})) + b"\n"
        else:
            yield msgspec.json.encode(_Line(checkpoint=dict(item.fields))) + b"\n"


def entry_line(recorded: Recorded) -> bytes:
    """The line of one entry."""
    return next(lines([StoredEntry(msgspec.structs.asdict(recorded.entry), recorded.hash)]))


def checkpoint_line(checkpoint: Checkpoint) -> bytes:
    """The line of one checkpoint."""
    return next(lines([StoredCheckpoint(msgspec.structs.asdict(checkpoint), "file")]))


def read(path: Path, upto: int | None = None) -> Iterator[StoredEntry | StoredCheckpoint]:
    """What the archive holds, a line at a time, of its first ``upto`` bytes.

    Raises ``INVALID`` at a line that is none of an archive, and names it.
    """
    with path.open("rb") as file:
        number = 0
        while upto is None or file.tell() < upto:
            text = file.readline(MAX_LINE)
            number += 1
            if not text:
                return
            yield parse(text, f"{path.name}, line {number}")


def parse(text: bytes, place: str) -> StoredEntry | StoredCheckpoint:
    """The item of one line. Raises ``INVALID``, naming ``place``."""
    try:
        line = msgspec.json.decode(text, type=_Line)
    except msgspec.DecodeError as error:
        raise TollwayError(Code.INVALID, f"{place}: not a line of an audit log: {error}") from None
    if line.entry is not None and line.checkpoint is None:
        fields = line.entry
        return StoredEntry(fields, fields.pop("hash", None))
    if line.checkpoint is not None and line.entry is None:
        return StoredCheckpoint(line.checkpoint, "archive")
    raise TollwayError(Code.INVALID, f"{place}: holds neither an entry nor a checkpoint")


COLUMNS: Final = ("seq", "at", *(name for name in FIELDS if name not in ("seq", "at_ms")), "hash")
"""Of the CSV form, which is for people: times are written out, formulas disarmed."""


def csv_header() -> bytes:
    """The first line of the CSV form."""
    return csv_text.line(COLUMNS).encode()


def csv_row(recorded: Recorded) -> bytes:
    """The line of one entry in CSV."""
    entry = recorded.entry
    values = {**msgspec.structs.asdict(entry), "at": rfc3339(entry.at_ms), "hash": recorded.hash}
    return csv_text.line(values[name] for name in COLUMNS).encode()
