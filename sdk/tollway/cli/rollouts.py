"""Commands about which version answers: rollouts, canaries, shadows, pins."""

from typing import Annotated

import typer

from tollway.cli.output import Json, print_fields, print_json, print_table, say
from tollway.cli.versions import ModelName, Number
from tollway.client import Client
from tollway.rollouts import Rollout, RolloutChange

Why = Annotated[str, typer.Option("--reason", help="Why: stays in the history.")]
Force = Annotated[bool, typer.Option("--force", help="Break callers; needs --reason.")]
End = Annotated[bool, typer.Option("--end", help="End it.")]
Some = Annotated[int | None, typer.Argument(help="Number of the version.", min=1)]
ApplicationName = Annotated[str, typer.Argument(help="Name of the application.")]


def rollout(
    model: ModelName,
    history: Annotated[bool, typer.Option("--history", help="Show every change.")] = False,
    as_json: Json = False,
) -> None:
    """Show how a model's traffic is answered."""
    with Client() as client:
        if not history:
            _show(client.rollout(model), as_json)
            return
        found = client.rollout_history(model)
    if as_json:
        print_json(found)
        return
    print_table(
        ("at", "stable", "canary", "shadow", "cause", "actor", "reason"),
        (
            (c.at, c.stable, _canary(c), _shadows(c), c.cause, c.actor, c.reason or None)
            for c in found
        ),
    )


def canary(
    model: ModelName,
    number: Some = None,
    percent: Annotated[
        float | None, typer.Option(help="Share of the applications, in steps of 0.1.")
    ] = None,
    end: End = False,
    force: Force = False,
    reason: Why = "",
    as_json: Json = False,
) -> None:
    """Have a version answer a share of the applications, or end that."""
    if end == (number is not None or percent is not None):
        raise typer.BadParameter("give VERSION and --percent, or --end", param_hint="VERSION")
    with Client() as client:
        if end:
            found = client.end_canary(model, reason)
        elif number is None or percent is None:
            raise typer.BadParameter("give VERSION and --percent", param_hint="--percent")
        else:
            found = client.canary(model, number, percent, force=force, reason=reason)
    _show(found, as_json)


def shadow(
    model: ModelName,
    number: Some = None,
    percent: Annotated[float, typer.Option(help="Share of the requests, in steps of 0.1.")] = 100.0,
    end: End = False,
    reason: Why = "",
    as_json: Json = False,
) -> None:
    """Have a version also score requests, after their answer has left; with --end, no more."""
    if number is None and not end:
        raise typer.BadParameter("give VERSION, or --end", param_hint="VERSION")
    with Client() as client:
        if end:
            found = client.end_shadow(model, number, reason=reason)
        else:
            assert number is not None
            found = client.shadow(model, number, percent, reason=reason)
    _show(found, as_json)


def pins(
    application: Annotated[str | None, typer.Option(help="Of this application.")] = None,
    model: Annotated[str | None, typer.Option(help="Of this model.")] = None,
    as_json: Json = False,
) -> None:
    """List the pins of an application, or of a model."""
    if (application is None) == (model is None):
        raise typer.BadParameter("give one of the two", param_hint="--application or --model")
    with Client() as client:
        found = client.pins(application=application, model=model)
    if as_json:
        print_json(found)
        return
    print_table(
        ("application", "model", "version", "set by", "since", "reason"),
        (
            (p.application, p.model, p.version, p.set_by, p.updated_at, p.reason or None)
            for p in found
        ),
    )


def pin(
    application: ApplicationName,
    model: ModelName,
    number: Number,
    reason: Why = "",
    as_json: Json = False,
) -> None:
    """Have a version answer an application's calls, whatever the rollout says."""
    with Client() as client:
        made = client.pin(application, model, number, reason)
    if as_json:
        print_json(made)
    else:
        say(f"{application} is answered by {model} version {number}")


def unpin(application: ApplicationName, model: ModelName, as_json: Json = False) -> None:
    """Have the rollout say again which version answers an application's calls."""
    with Client() as client:
        client.unpin(application, model)
    if as_json:
        print_json({"application": application, "model": model, "deleted": True})
    else:
        say(f"{application} is answered as the rollout of {model} says")


def _show(found: Rollout, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "stable": found.stable,
            "canary": _canary(found),
            "shadow": _shadows(found),
            "previous": found.previous,
        }
    )


def _canary(found: Rollout | RolloutChange) -> str | None:
    one = found.canary
    return None if one is None else f"{one.version} ({one.percent:g} %)"


def _shadows(found: Rollout | RolloutChange) -> list[str]:
    return [f"{one.version} ({one.percent:g} %)" for one in found.shadow]
