"""CSV (RFC 4180) that is safe to open in a spreadsheet. Pure."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

MEDIA_TYPE: Final = "text/csv"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula in text."""
_LINES: Final = 500

Cell = str | int | float | None


def lines(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """The table in pieces of some hundred lines.

    Text that a spreadsheet would run as a formula gets an apostrophe before it. A missing value is
    an empty cell.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    for number, row in enumerate(rows, 1):
        writer.writerow([_safe(cell) for cell in row])
        if number % _LINES == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def line(cells: Iterable[Cell]) -> str:
    """One row, as in :func:`lines`."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow([_safe(cell) for cell in cells])
    return buffer.getvalue()


def _safe(cell: Cell) -> Cell:
    return "'" + cell if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
