"""Commands about the audit log."""

from typing import Annotated

import typer

from tollway.cli.output import Json, print_fields, print_json, print_table
from tollway.cli.times import moment
from tollway.client import Client

audit = typer.Typer(help="The audit log: who changed what.", rich_markup_mode=None)


@audit.callback(invoke_without_command=True)
def audit_default(
    context: typer.Context,
    actor: Annotated[str | None, typer.Option(help="Only changes by this user.")] = None,
    action: Annotated[str | None, typer.Option(help="Such as `alias.moved`.")] = None,
    kind: Annotated[str | None, typer.Option(help="Such as `alias`.")] = None,
    key: Annotated[str | None, typer.Option(help="Which one: `credit-risk/stable`.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="90d, 12h ago, or an ISO 8601 time.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="The same forms.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 100,
    as_json: Json = False,
) -> None:
    """The audit log: who changed what. Lists it when no command is given."""
    if context.invoked_subcommand is not None:
        return
    with Client() as client:
        found = list(
            client.audit.entries(
                actor=actor,
                action=action,
                kind=kind,
                key=key,
                start=None if start is None else moment(start, "--from"),
                end=None if end is None else moment(end, "--to"),
                limit=limit,
            )
        )
    if as_json:
        print_json(found)
        return
    print_table(
        ("seq", "at", "actor", "action", "key", "address", "reason"),
        (
            (one.seq, one.at, one.actor, one.action, one.key, one.address, one.reason or None)
            for one in found
        ),
    )


@audit.command("answered")
def answered(
    application: Annotated[str, typer.Argument(help="Name of the application.")],
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    at: Annotated[str, typer.Argument(help="90d, 12h ago, or an ISO 8601 time.")],
    as_json: Json = False,
) -> None:
    """Show which version answered an application at a moment."""
    with Client() as client:
        found = client.audit.answered(application, model, moment(at, "AT"))
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "at": found.at,
            "version": found.routed.version,
            "since": found.routed.since,
            "entry": found.routed.entry,
            "plan": found.subscription.plan,
        }
    )
    print_table(
        ("version", "variant", "status", "requests in that minute"),
        ((one.version, one.variant, one.status, one.requests) for one in found.counted),
    )
