"""``tollwayd audit``: verify, export, public-key. Works while control runs, and without it."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from control.audit import log
from control.audit.checkpoints import FILE, PUBLIC, public_keys
from control.settings import ControlSettings
from control.store.failures import DatabaseError
from control.store.history import open_log
from registry.checkpoint import PublicKeys
from registry.store.database import Database
from registry.verification import Report
from runtime.start import StartError

app = typer.Typer(
    name="tollwayd audit",
    help="Verify and export the audit log.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[
    Path | None,
    typer.Option(help="Data directory; other settings are control's TOLLWAY_... variables."),
]
PublicKeyFiles = Annotated[
    list[Path] | None,
    typer.Option("--public-key", help="Public key (PEM) that checkpoints are signed with."),
]
CheckpointFile = Annotated[
    Path | None, typer.Option("--checkpoints", help="A copy of control/audit/checkpoints.jsonl.")
]


@app.command()
def verify(
    data: Data = None,
    file: Annotated[
        Path | None, typer.Option(help="Verify this archive instead of the database.")
    ] = None,
    checkpoints: CheckpointFile = None,
    public_key: PublicKeyFiles = None,
) -> None:
    """Say OK, or a line for each entry that was edited, removed, moved, put in or cut off."""
    keys = None if not public_key else public_keys(*public_key)
    if file is not None:
        report = log.verify_file(file, keys, checkpoints)
    else:
        settings = _settings(data)
        own = checkpoints or settings.audit_dir / FILE
        with _log(settings) as database:
            report = log.verify_database(database, keys or _own_keys(settings), own)
    _print(report)
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def export(
    data: Data = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write (mode 0600); left out: stdout.")
    ] = None,
) -> None:
    """Write every entry and checkpoint as JSON lines: an archive that verifies by itself."""
    with _log(_settings(data)) as database:
        if output is None:
            for line in log.archive(database):
                sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            return
        output.touch(mode=0o600)
        with output.open("wb") as written:
            for line in log.archive(database):
                written.write(line)


@app.command("public-key")
def public_key(data: Data = None) -> None:
    """Print the public keys that checkpoints are verified with (PEM)."""
    path = _settings(data).audit_dir / PUBLIC
    if not path.exists():
        raise StartError(f"there is no {path}: control's first start makes it")
    sys.stdout.write(path.read_text())


def main(arguments: Sequence[str]) -> None:
    """Run ``tollwayd audit ARGUMENTS``; raises ``SystemExit``."""
    try:
        app(args=list(arguments), prog_name="tollwayd audit")
    except DatabaseError as error:
        reason = str(error).splitlines()[0]
        raise StartError(f"the database cannot be used: {reason}") from None


def _settings(data: Path | None) -> ControlSettings:
    return ControlSettings() if data is None else ControlSettings(data_dir=data)


@contextmanager
def _log(settings: ControlSettings) -> Iterator[Database]:
    database = open_log(settings.database)
    try:
        yield database
    finally:
        database.close()


def _own_keys(settings: ControlSettings) -> PublicKeys:
    path = settings.audit_dir / PUBLIC
    if not path.exists():
        raise StartError(f"there is no {path}: name the public key with --public-key")
    return public_keys(path)


def _print(report: Report) -> None:
    for finding in report.findings:
        sys.stdout.write(f"{finding.problem}: {finding.detail}\n")
    if report.further:
        sys.stdout.write(f"and {report.further} more\n")
    if not report.ok:
        return
    span = "none" if report.last is None else f"{report.first} to {report.last}"
    signed = "" if report.checked_signatures else " (signatures not checked: no --public-key)"
    sys.stdout.write(
        f"OK {report.entries} entries, {span}, hash {report.hash}, "
        f"{report.checkpoints} checkpoints{signed}\n"
    )
