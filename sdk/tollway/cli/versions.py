"""Commands about models and versions, and which version gets the traffic."""

from typing import Annotated

import typer

from tollway.cli.output import Json, print_fields, print_json, print_table, say
from tollway.client import Client
from tollway.resources import Version

ModelName = Annotated[str, typer.Argument(help="Name of the model.")]
Number = Annotated[int, typer.Argument(help="Number of the version.", min=1)]
Reason = Annotated[str, typer.Option(help="Why: stays in the version's history.")]
_DIGEST_SHOWN = 19


def list_models(as_json: Json) -> None:
    """List the models."""
    with Client() as client:
        found = client.models()
    if as_json:
        print_json(found)
        return
    print_table(
        ("model", "stable", "latest", "aliases", "title"),
        ((m.name, m.stable, m.latest, _aliases(m.aliases), m.title or None) for m in found),
    )


def versions(
    model: ModelName,
    number: Annotated[int | None, typer.Argument(help="Show this version in full.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """List a model's versions, or show one in full."""
    with Client() as client:
        if number is not None:
            _show(client.version(model, number), as_json)
            return
        found = client.versions(model)
        aliases = client.model(model).aliases
    if as_json:
        print_json(found)
        return
    print_table(
        ("version", "state", "engines", "aliases", "max error", "created", "digest"),
        (
            (
                v.number,
                v.state,
                v.serving.state if v.loaded else "unloaded",
                [name for name, at in sorted(aliases.items()) if at == v.number],
                v.parity.max_abs_error if v.parity else None,
                v.created_at,
                v.digest[:_DIGEST_SHOWN],
            )
            for v in found
        ),
    )


def compatibility(
    model: ModelName,
    number: Annotated[int, typer.Argument(help="The version that callers use.", min=1)],
    following: Annotated[int, typer.Argument(help="The one that would take its place.", min=1)],
    as_json: Json = False,
) -> None:
    """Show what callers of a version could trip over with another; exit code 1: there is some."""
    with Client() as client:
        found = client.compatibility(model, number, following)
    if as_json:
        print_json(found)
    elif found.compatible:
        say(f"version {following} of {model} can take the place of {number}")
    else:
        for difference in found.differences:
            say(difference)
    if not found.compatible:
        raise typer.Exit(1)


def publish(model: ModelName, number: Number, as_json: Json = False) -> None:
    """Let consumers call a version that they name, without moving traffic to it."""
    with Client() as client:
        version = client.publish(model, number)
    if as_json:
        print_json(version)
    else:
        say(f"{model} version {number} is {version.state}")


def promote(
    model: ModelName,
    number: Number,
    alias: Annotated[
        str, typer.Option(help="Label to move; `stable` gets the traffic.")
    ] = "stable",
    expected: Annotated[
        int | None, typer.Option(help="Refuse unless the label points to this version now.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Break callers; needs --reason.")] = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Point a label at a version: with `stable`, the model's traffic follows."""
    with Client() as client:
        version = client.promote(
            model, number, alias, expected=expected, force=force, reason=reason
        )
    _done(version, f"'{alias}' of {model} is version {number}", as_json)


def rollback(model: ModelName, reason: Reason = "", as_json: Json = False) -> None:
    """Give the traffic back to the version that was stable before; a canary ends."""
    with Client() as client:
        version = client.rollback(model, reason)
    _done(version, f"'stable' of {model} is version {version.number} again", as_json)


def load(model: ModelName, number: Number, as_json: Json = False) -> None:
    """Have workers hold a version, and wait until it answers."""
    with Client() as client:
        version = client.load(model, number)
    _done(version, f"{model} version {number} is loaded", as_json)


def unload(model: ModelName, number: Number, as_json: Json = False) -> None:
    """Have workers let a version go."""
    with Client() as client:
        version = client.unload(model, number)
    _done(version, f"{model} version {number} is being unloaded", as_json)


def _done(version: Version, message: str, as_json: bool) -> None:
    if as_json:
        print_json(version)
    else:
        say(message)


def _show(version: Version, as_json: bool) -> None:
    if as_json:
        print_json(version)
        return
    manifest, parity = version.manifest, version.parity
    print_fields(
        {
            "model": version.model,
            "version": version.number,
            "state": version.state,
            "approval": version.approval,
            "engines": version.serving.state if version.loaded else "unloaded",
            "error": version.serving.error or None,
            "digest": version.digest,
            "created": version.created_at,
            "by": version.created_by,
            "description": version.description or manifest.description or None,
            "task": manifest.task,
            "inputs": [f"{t.name} {t.datatype}{list(t.shape)}" for t in manifest.inputs],
            "outputs": [f"{t.name} {t.datatype}{list(t.shape)}" for t in manifest.outputs],
            "columns": [f"{c.name} {c.type}" for c in manifest.columns],
            "labels": manifest.labels,
            "parity": None
            if parity is None
            else f"{parity.rows} rows, largest difference {parity.max_abs_error:.3g}"
            f" (tolerance {parity.tolerance:.3g}), near ties {parity.near_ties}",
            "metrics": [f"{name}={value:.6g}" for name, value in version.metrics.items()],
        }
    )


def _aliases(aliases: dict[str, int]) -> str | None:
    return ", ".join(f"{name}={number}" for name, number in sorted(aliases.items())) or None
