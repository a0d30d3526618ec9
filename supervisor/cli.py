"""The ``tollwayd`` command."""

import os
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from runtime.logs import LogLevel, configure_logs
from runtime.process import run, set_title
from runtime.start import refusing
from supervisor.settings import StackSettings

app = typer.Typer(
    name="tollwayd",
    help="The Tollway server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


EnginesMin = Annotated[
    int | None,
    typer.Option(min=1, max=256, help="Engines that every version has.  [default: 1]"),
]
EnginesMax = Annotated[
    int | None,
    typer.Option(min=1, max=256, help="Engines that a version may have.  [default: the cores]"),
]


@app.command()
def up(
    data: Annotated[Path, typer.Option(help="Folder for everything that the stack keeps.")] = Path(
        "data"
    ),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Engine agents.")] = 1,
    engines_min: EnginesMin = None,
    engines_max: EnginesMax = None,
    log_level: Annotated[LogLevel, typer.Option(help="What is logged.")] = "warning",
) -> None:
    """Run control, workers and gateway on this machine until SIGTERM or Ctrl-C."""
    from supervisor.up import Stack  # noqa: PLC0415 -- the other commands do not need it

    configure_logs("up", log_level)
    set_title("up")
    settings = StackSettings(data, host, port, workers, engines_min, engines_max, log_level)
    stack = Stack(settings)
    try:
        run(stack.run)
    finally:
        stack.close()


@app.command()
def control() -> None:
    """Run the control role; its settings are TOLLWAY_... variables."""
    _run_role("control")


@app.command()
def gateway() -> None:
    """Run the gateway role; its settings are TOLLWAY_... variables."""
    _run_role("gateway")


@app.command()
def worker(engines_min: EnginesMin = None, engines_max: EnginesMax = None) -> None:
    """Run the worker role; its settings are TOLLWAY_... variables."""
    for name, value in (("MIN", engines_min), ("MAX", engines_max)):
        if value is not None:
            os.environ[f"TOLLWAY_ENGINES_{name}"] = str(value)
    _run_role("serving")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def audit(context: typer.Context) -> None:
    """Verify and export the audit log: see `tollwayd audit --help`."""
    import_module("control.audit.command").main(context.args)


def _run_role(package: str) -> None:
    # Imported by name: a role's process holds nothing of the others.
    import_module(f"{package}.main").main()


def main() -> None:
    """Entry point: exit code 0 when stopped, 1 with one line on stderr when it cannot start."""
    with refusing():
        app()


if __name__ == "__main__":
    main()
