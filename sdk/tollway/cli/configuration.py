"""``tollway apply``, ``diff`` and ``export``: the configuration as a file."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tollway import configuration_file
from tollway.cli.output import Json, note, print_json, say
from tollway.client import Client
from tollway.configuration import ConfigurationChange, ConfigurationResult
from tollway.configuration_file import ConfigurationFile, Source

Files = Annotated[
    list[str], typer.Option("--file", "-f", help="YAML file; `-` is stdin. Repeatable.")
]
Prune = Annotated[
    bool,
    typer.Option("--prune", help="Delete what the sections in the files do not name."),
]
MANY_ITEMS = 500
"""From here on applying takes seconds."""
_SIGNS = {"create": "+", "update": "~", "delete": "-"}


def apply(
    file: Files,
    prune: Prune = False,
    reason: Annotated[str, typer.Option(help="Why, for the audit log.")] = "",
    as_json: Json = False,
) -> None:
    """Make the server's configuration as the files say, in one transaction.

    Repeating it changes nothing. When anything is refused, nothing is changed.
    """
    wanted = _read(file)
    _announce(wanted, "applying")
    with Client() as client:
        result = client.configuration.apply(wanted, prune=prune, reason=reason)
    _show(result, as_json)


def diff(
    file: Files,
    prune: Prune = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 when there are differences.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what `tollway apply` would change. Nothing is changed."""
    wanted = _read(file)
    _announce(wanted, "comparing")
    with Client() as client:
        result = client.configuration.apply(wanted, dry_run=True, prune=prune)
    _show(result, as_json)
    if exit_code and result.changes:
        raise typer.Exit(1)


def export(as_json: Json = False) -> None:
    """Print the present configuration as a file for `tollway apply`."""
    with Client() as client:
        present = client.configuration.export()
    if as_json:
        print_json(present)
    else:
        sys.stdout.write(configuration_file.write(present))


def _read(files: list[str]) -> ConfigurationFile:
    bound = configuration_file.MAX_BYTES + 1
    sources = []
    for name in files:
        if name == "-":
            sources.append(Source("stdin", sys.stdin.buffer.read(bound)))
        else:
            with Path(name).open("rb") as opened:
                sources.append(Source(name, opened.read(bound)))
    return configuration_file.read_files(sources)


def _announce(wanted: ConfigurationFile, doing: str) -> None:
    """Say that it works on what takes a while, before it is silent for that while."""
    items = wanted.items()
    if items >= MANY_ITEMS:
        note(f"{doing} {items} items in one transaction; this may take minutes ...")


def _show(result: ConfigurationResult, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    for change in result.changes:
        _show_change(change)
    count = len(result.changes)
    what = "no differences" if not count else "1 change" if count == 1 else f"{count} changes"
    note(f"{what}{'' if result.applied or not count else '; nothing was changed'}")


def _show_change(change: ConfigurationChange) -> None:
    say(f"{_SIGNS[change.action]} {change.kind} {change.key}")
    for name, values in change.fields.items():
        if change.action == "create":
            say(f"    {name}: {_text(values.after)}")
        elif change.action == "update":
            say(f"    {name}: {_text(values.before)} -> {_text(values.after)}")


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
