"""Commands about which version answers: rollouts, canaries, shadows, pins."""

from enum import StrEnum
from typing import Annotated

import typer

from tollway.cli import guarded
from tollway.cli.output import Json, print_fields, print_json, print_table, say
from tollway.cli.versions import ModelName, Number
from tollway.client import Client
from tollway.guarded import GuardedCanary
from tollway.rollouts import Rollout, RolloutChange

Why = Annotated[str, typer.Option("--reason", help="Why: stays in the history.")]
Force = Annotated[bool, typer.Option("--force", help="Break callers; needs --reason.")]
End = Annotated[bool, typer.Option("--end", help="End it.")]
Some = Annotated[int | None, typer.Argument(help="Number of the version.", min=1)]
ApplicationName = Annotated[str, typer.Argument(help="Name of the application.")]


class Action(StrEnum):
    """What can be done with a guarded canary by hand."""

    PAUSE = "pause"
    RESUME = "resume"
    ADVANCE = "advance"
    ABORT = "abort"


def rollout(
    model: ModelName,
    history: Annotated[bool, typer.Option("--history", help="Show every change.")] = False,
    decisions: Annotated[
        bool, typer.Option("--decisions", help="Show what was decided of guarded canaries.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show a guarded canary until it is over.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how a model's traffic is answered."""
    with Client() as client:
        if watch:
            found = guarded.watch(client, model, as_json=as_json)
            if not as_json:
                _show(found, as_json)
            return
        if decisions:
            guarded.show_decisions(client.canary_decisions(model), as_json=as_json)
            return
        if not history:
            _show(client.rollout(model), as_json)
            return
        changes = client.rollout_history(model)
    if as_json:
        print_json(changes)
        return
    print_table(
        ("at", "stable", "canary", "shadow", "cause", "actor", "reason"),
        (
            (c.at, c.stable, _canary(c), _shadows(c), c.cause, c.actor, c.reason or None)
            for c in changes
        ),
    )


def canary(
    model: ModelName,
    number: Some = None,
    percent: Annotated[
        float | None, typer.Option(help="Share of the applications, in steps of 0.1.")
    ] = None,
    steps: Annotated[
        str | None, typer.Option(help="Shares that it takes by itself, guarded: 1,5,25,100.")
    ] = None,
    step_min_requests: Annotated[
        int, typer.Option(help="Requests of the canary that a step has to see.", min=1)
    ] = 100,
    step_min_seconds: Annotated[
        int, typer.Option(help="Seconds that a step lasts at least.", min=0)
    ] = 60,
    is_guarded: Annotated[
        bool, typer.Option("--guarded", help="Roll it back by itself when it does harm.")
    ] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make it stable after the last step.")
    ] = False,
    alpha: Annotated[
        float | None, typer.Option(help="Rate of false alarms of the guard (0.01).")
    ] = None,
    max_error_increase: Annotated[
        float | None, typer.Option(help="Allowed share of failures above stable's (0).")
    ] = None,
    p99_ratio: Annotated[
        float | None, typer.Option(help="Allowed multiple of stable's p99 (1.5).")
    ] = None,
    max_p99_ms: Annotated[float | None, typer.Option(help="Allowed p99.")] = None,
    max_disagreement: Annotated[
        float | None, typer.Option(help="Allowed share of other answers than stable's.")
    ] = None,
    max_score_shift: Annotated[
        float | None, typer.Option(help="Allowed mean difference of scores.")
    ] = None,
    score_scale: Annotated[
        float | None, typer.Option(help="Greatest difference of two scores (1).")
    ] = None,
    action: Annotated[
        Action | None, typer.Option("--do", help="What to do with a guarded canary by hand.")
    ] = None,
    end: End = False,
    force: Force = False,
    reason: Why = "",
    as_json: Json = False,
) -> None:
    """Have a version answer a share of the applications, by hand or in guarded steps; end that."""
    limits = {
        "alpha": alpha,
        "max_error_rate_increase": max_error_increase,
        "p99_ratio": p99_ratio,
        "max_p99_ms": max_p99_ms,
        "max_disagreement": max_disagreement,
        "max_score_shift": max_score_shift,
        "score_scale": score_scale,
    }
    guard = guarded.guard_from(limits, guarded=is_guarded)
    planned = steps is not None or guard is not False
    if sum((end, action is not None, number is not None)) != 1:
        raise typer.BadParameter("give VERSION, --do or --end, one of them", param_hint="VERSION")
    if (number is None) == (percent is not None or planned):
        hint = "--percent, --steps or --guarded"
        raise typer.BadParameter("give VERSION with a share or --guarded", param_hint=hint)
    with Client() as client:
        if action is not None:
            guarded.show(act(client, model, action, reason), as_json=as_json)
            return
        if number is None:
            found = client.end_canary(model, reason)
        else:
            found = client.canary(
                model,
                number,
                percent,
                steps=guarded.steps_from(steps, step_min_requests, step_min_seconds),
                guard=guard,
                promote=promote,
                force=force,
                reason=reason,
            )
    _show(found, as_json)


def act(client: Client, model: str, action: Action, reason: str) -> GuardedCanary:
    """Do it."""
    match action:
        case Action.PAUSE:
            return client.pause_canary(model, reason)
        case Action.RESUME:
            return client.resume_canary(model, reason)
        case Action.ADVANCE:
            return client.advance_canary(model, reason)
        case Action.ABORT:
            return client.abort_canary(model, reason)


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
    fields: dict[str, object] = {
        "stable": found.stable,
        "canary": _canary(found),
        "shadow": _shadows(found),
        "previous": found.previous,
    }
    print_fields(fields)
    if found.guarded is not None:
        say("")
        print_fields(guarded.fields_of(found.guarded))


def _canary(found: Rollout | RolloutChange) -> str | None:
    one = found.canary
    return None if one is None else f"{one.version} ({one.percent:g} %)"


def _shadows(found: Rollout | RolloutChange) -> list[str]:
    return [f"{one.version} ({one.percent:g} %)" for one in found.shadow]
