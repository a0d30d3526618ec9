"""What commands print: tables for people, tab-separated lines for pipes, JSON for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import msgspec
import typer

Json = Annotated[bool, typer.Option("--json", help="Answer with JSON on stdout.")]


def print_json(value: object) -> None:
    """``value`` (dataclasses too) as indented JSON on stdout."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.write(text.decode() + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on a terminal; else a line of column names and tab-separated rows."""
    shown = [[_cell(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        for line in [list(columns), *shown]:
            sys.stdout.write("\t".join(" ".join(cell.split()) for cell in line) + "\n")
        return
    from rich.console import Console  # noqa: PLC0415 -- for terminals only
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns)
    for line in shown:
        # Text, because names and descriptions must not be read as markup.
        table.add_row(*(Text(cell) for cell in line))
    Console().print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """One thing, a field per line."""
    width = max(map(len, fields))
    for name, value in fields.items():
        sys.stdout.write(f"{name:<{width}}  {_cell(value)}\n")


def say(message: str) -> None:
    """One line on stdout."""
    sys.stdout.write(message + "\n")


def note(message: str) -> None:
    """One line on stderr: for people, out of the way of pipes."""
    sys.stderr.write(message + "\n")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(_cell(item) for item in value) or "-"
    return str(value)
