"""Commands about the end of versions: deprecation, who still calls, retirement."""

from datetime import datetime
from typing import Annotated

import typer

from tollway.cli.output import Json, print_fields, print_json, print_table, say
from tollway.cli.times import moment
from tollway.cli.versions import ModelName, Number, Reason
from tollway.client import Client
from tollway.endings import SuccessorAnswers

Days = Annotated[int, typer.Option(help="Days that the report looks back.", min=1, max=366)]


def deprecate(
    model: ModelName,
    number: Number,
    sunset: Annotated[
        str | None,
        typer.Option(help="When it may go out of service: 90d, or an ISO 8601 time."),
    ] = None,
    successor: Annotated[
        int | None, typer.Option(help="The version that its callers should move to.", min=1)
    ] = None,
    note: Annotated[str, typer.Option(help="What its callers should know.")] = "",
    brownout: Annotated[
        list[str] | None,
        typer.Option(
            help="START/END: calls that name it are refused meanwhile, as at its end. Repeatable."
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Since when it counts as deprecated; left out: now.")
    ] = None,
    retire_at_sunset: Annotated[
        bool, typer.Option("--retire-at-sunset", help="Retire it by itself at its sunset.")
    ] = False,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Mark a version as on its way out, or say anew how it ends. It still answers."""
    with Client() as client:
        version = client.deprecate(
            model,
            number,
            reason,
            since=None if since is None else moment(since, "--since"),
            sunset=None if sunset is None else moment(sunset, "--sunset", future=True),
            successor=successor,
            note=note,
            brownouts=[_window(text) for text in brownout or []],
            retire_at_sunset=retire_at_sunset,
        )
    if as_json:
        print_json(version)
        return
    when = "" if sunset is None else f", until {sunset}"
    then = "" if successor is None else f"; version {successor} succeeds it"
    say(f"{model} version {number} is {version.state}{when}{then}")


def retire(model: ModelName, number: Number, reason: Reason = "", as_json: Json = False) -> None:
    """Take a version out of service for good."""
    with Client() as client:
        version = client.retire(model, number, reason)
    if as_json:
        print_json(version)
    else:
        say(f"{model} version {number} is {version.state}")


def transition_report(
    model: ModelName,
    number: Number,
    days: Days = 30,
    limit: Annotated[
        int, typer.Option(help="At most so many callers, the busiest first.", min=1)
    ] = 1000,
    replay: Annotated[
        int,
        typer.Option(
            help="Score so many captured requests of each caller again, on the successor.", min=0
        ),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Show who still calls a version, and what its end would change for them."""
    with Client() as client:
        report = client.transition_report(model, number, days=days, limit=limit, replay=replay)
    if as_json:
        print_json(report)
        return
    print_fields(
        {
            "version": f"{report.model} {report.version}",
            "state": report.state,
            "since": report.deprecated_since,
            "sunset": report.sunset,
            "days left": report.days_left,
            "successor": report.successor,
            "note": report.note or None,
            "held by": report.held_by,
            "requests": f"{report.requests} in {report.days} days",
            "callers": report.applications,
        }
    )
    print_table(
        ("application", "consumer", "requests", "ways", "pinned", "first", "last", "week",
         "before", "trend", "other answers"),
        (
            (
                caller.application,
                caller.consumer,
                caller.requests,
                [f"{way} {count}" for way, count in sorted(caller.ways.items())],
                caller.pinned,
                caller.first_call_at,
                caller.last_call_at,
                caller.last_week,
                caller.week_before,
                caller.trend,
                answers_of(caller.answers),
            )
            for caller in report.callers
        ),
    )  # fmt: skip


def retirement_report(model: ModelName, days: Days = 30, as_json: Json = False) -> None:
    """Weigh a model's versions by quality, traffic and cost: keep, deprecate or retire."""
    with Client() as client:
        report = client.retirement_report(model, days=days)
    if as_json:
        print_json(report)
        return
    print_table(
        ("version", "state", "quality", "requests", "callers", "compute ms", "engines", "memory",
         "bytes", "recommendation", "reason"),
        (
            (
                one.version,
                one.state,
                None if one.quality is None else f"{one.quality.metric} {one.quality.value:.6g}",
                one.traffic.requests,
                one.traffic.callers,
                one.cost.compute_ms,
                one.cost.engines,
                one.cost.memory_bytes,
                one.cost.artifact_bytes,
                one.recommendation,
                one.reason,
            )
            for one in report.versions
        ),
    )  # fmt: skip


def answers_of(answers: SuccessorAnswers) -> str:
    """How many other answers a successor would give, in one cell."""
    if answers.share is None:
        return answers.reason or answers.basis
    return f"{answers.different} of {answers.compared} ({answers.basis})"


def _window(text: str) -> tuple[datetime, datetime]:
    start, slash, end = text.partition("/")
    if not slash:
        raise typer.BadParameter(f"{text!r} is not START/END", param_hint="--brownout")
    first = moment(start, "--brownout", future=True)
    return first, moment(end, "--brownout", future=True)
