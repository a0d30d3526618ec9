"""Commands about applications, their keys, and what they used."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from tollway.cli.output import Json, note, print_fields, print_json, print_table, say
from tollway.client import Client

apps = typer.Typer(help="Applications: the programs that call models.", rich_markup_mode=None)
keys = typer.Typer(help="API keys of applications.", rich_markup_mode=None)

ApplicationName = Annotated[str, typer.Argument(help="Name of the application.")]
ModelName = Annotated[str, typer.Argument(help="Name of the model.")]
Plan = Annotated[str | None, typer.Option(help="Plan of the subscription.")]
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_DIMENSIONS = ("application", "model", "version", "variant", "status")
_MEASURES = ("requests", "rows", "errors", "p50_ms", "p99_ms")


@apps.callback(invoke_without_command=True)
def apps_default(context: typer.Context, as_json: Json = False) -> None:
    """Applications: the programs that call models. Lists them when no command is given."""
    if context.invoked_subcommand is None:
        list_applications(as_json)


@apps.command("list")
def list_applications(as_json: Json = False) -> None:
    """List the applications."""
    with Client() as client:
        found = client.applications()
        subscribed = client.subscriptions()
    if as_json:
        print_json(found)
        return
    print_table(
        ("application", "consumer", "subscriptions", "title"),
        (
            (
                app.name,
                app.consumer,
                [f"{s.model} ({s.plan})" for s in subscribed if s.application == app.name],
                app.title or None,
            )
            for app in found
        ),
    )


@apps.command("create")
def create_application(
    name: ApplicationName,
    consumer: Annotated[str | None, typer.Option(help="Who it belongs to.")] = None,
    title: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    as_json: Json = False,
) -> None:
    """Make an application, or update it."""
    with Client() as client:
        made = client.create_application(name, consumer=consumer, title=title)
    if as_json:
        print_json(made)
    else:
        say(f"application {made.name} of consumer {made.consumer}")


@apps.command("subscribe")
def subscribe(
    application: ApplicationName, model: ModelName, plan: Plan = None, as_json: Json = False
) -> None:
    """Let an application call a model."""
    with Client() as client:
        made = client.subscribe(application, model, plan)
    if as_json:
        print_json(made)
    else:
        say(f"{made.application} may call {made.model} under plan {made.plan}")


@keys.callback(invoke_without_command=True)
def keys_default(context: typer.Context, as_json: Json = False) -> None:
    """API keys of applications. Lists them when no command is given."""
    if context.invoked_subcommand is None:
        list_keys(None, as_json)


@keys.command("list")
def list_keys(
    application: Annotated[
        str | None, typer.Argument(help="Only the keys of this application.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List keys, without their secrets."""
    with Client() as client:
        found = client.keys(application)
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "prefix", "application", "label", "models", "created", "expires", "revoked"),
        (
            (
                key.id,
                key.prefix,
                key.application,
                key.label or None,
                "all" if key.models is None else key.models,
                key.created_at,
                key.expires_at,
                key.revoked_at,
            )
            for key in found
        ),
    )


@keys.command("create")
def create_key(
    application: ApplicationName,
    model: ModelName,
    plan: Plan = None,
    label: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
    environment: Annotated[str, typer.Option(help="`live` or `test`.")] = "live",
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 90d, 12h, or an ISO 8601 time.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key that may call a model. The secret is printed once, here.

    Makes the application and its subscription when they do not exist yet.
    """
    with Client() as client:
        key = client.create_key(
            application,
            model,
            plan,
            label=label,
            environment=environment,
            expires_at=None if expires is None else moment(expires, "--expires", future=True),
        )
    if as_json:
        print_json(key)
        return
    print_fields({"id": key.id, "application": key.application, "secret": key.secret})
    note("Keep the secret now: it is not stored and cannot be shown again.")


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")],
    as_json: Json = False,
) -> None:
    """Make a key worthless at once."""
    with Client() as client:
        client.revoke_key(key_id)
    if as_json:
        print_json({"id": key_id, "revoked": True})
    else:
        say(f"key {key_id} is revoked")


def usage(
    start: Annotated[
        str | None, typer.Option("--from", help="90d, 12h ago, or an ISO 8601 time.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="The same forms.")] = None,
    by: Annotated[
        str, typer.Option(help=f"Any of {', '.join(_DIMENSIONS)}; comma-separated.")
    ] = "application,model,version,status",
    step: Annotated[
        str | None, typer.Option(help="`minute`, `hour` or `day`: one line per step.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show requests, rows, errors and times."""
    groups = [part.strip() for part in by.split(",") if part.strip()]
    for group in groups:
        if group not in _DIMENSIONS:
            raise typer.BadParameter(
                f"{group!r} is none of {', '.join(_DIMENSIONS)}", param_hint="--by"
            )
    if step not in (None, "minute", "hour", "day"):
        raise typer.BadParameter(f"{step!r} is none of minute, hour, day", param_hint="--step")
    with Client() as client:
        found = client.usage(
            start=None if start is None else moment(start, "--from"),
            end=None if end is None else moment(end, "--to"),
            by=groups,
            step=step,
        )
    if as_json:
        print_json(found)
        return
    shown = (*(("time",) if step else ()), *groups, *_MEASURES)
    print_table(shown, ([getattr(row, name) for name in shown] for row in found))


def moment(text: str, option: str, *, future: bool = False) -> datetime:
    """A time given as such, or as a distance from now."""
    if match := re.fullmatch(r"(\d{1,6})([mhd])", text.strip()):
        distance = int(match[1]) * _UNITS[match[2]]
        now = datetime.now(UTC)
        return now + distance if future else now - distance
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither like 90d, 12h or 30m, nor an ISO 8601 time", param_hint=option
        ) from None
    return moment if moment.tzinfo is not None else moment.astimezone()
