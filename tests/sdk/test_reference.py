"""The reference pages name everything that there is."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import tollway
from tollway.cli.app import app

DOCS = Path(__file__).parents[2] / "docs" / "reference"
INTERNAL = {"transport", "clock", "sleep"}
"""Arguments of the client that only tests give."""


def _commands() -> Iterator[tuple[str, list[str]]]:
    """Every command with its options."""

    def walk(command: object, name: str) -> Iterator[tuple[str, list[str]]]:
        options = [
            option
            for parameter in command.params  # type: ignore[attr-defined]
            for option in parameter.opts
            if option.startswith("--") and option not in ("--help", "--json")
        ]
        yield name, options
        for child, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{name} {child}")

    yield from walk(typer.main.get_command(app), "tollway")


@pytest.mark.parametrize(("command", "options"), list(_commands()))
def test_the_page_on_commands_has_the_command_and_its_options(
    command: str, options: list[str]
) -> None:
    page = (DOCS / "cli.md").read_text()
    assert f"`{command}" in page
    assert [option for option in options if option not in page] == []


def test_every_command_takes_json() -> None:
    missing = []

    def walk(command: object, name: str) -> None:
        options = {o for p in command.params for o in p.opts}  # type: ignore[attr-defined]
        if "--json" not in options and name != "tollway":
            missing.append(name)
        for child, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{name} {child}")

    walk(typer.main.get_command(app), "tollway")
    assert missing == []


def test_the_page_on_the_client_has_every_public_name() -> None:
    page = (DOCS / "sdk.md").read_text()
    names = [name for name in tollway.__all__ if not name.startswith("__")]
    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []


def test_the_page_on_the_client_has_every_method_and_argument() -> None:
    page = (DOCS / "sdk.md").read_text()
    methods = [n for n, _ in inspect.getmembers(tollway.Client, inspect.isfunction)]
    missing = []
    for method in methods:
        if method.startswith("_") and method != "__init__":
            continue
        signature = inspect.signature(getattr(tollway.Client, method))
        called = "Client" if method == "__init__" else method
        if f"{called}(" not in page:
            missing.append(method)
        missing += [
            f"{method}.{name}"
            for name in signature.parameters
            if name not in {"self", *INTERNAL} and not re.search(rf"\b{name}\b", page)
        ]
    assert missing == []
