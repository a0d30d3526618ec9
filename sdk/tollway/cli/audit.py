"""Commands about the audit log."""

from typing import Annotated

import msgspec
import typer

from tollway.cli.output import Json, print_fields, print_json, print_table, say
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
    search: Annotated[
        str | None, typer.Option(help="Only with this text anywhere: reads the log for it.")
    ] = None,
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
                search=search,
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


@audit.command("show")
def show(
    seq: Annotated[int, typer.Argument(min=1, help="Number of the entry.")], as_json: Json = False
) -> None:
    """Show an entry, with what it changed."""
    with Client() as client:
        found = client.audit.entry(seq)
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "entry": found.seq,
            "at": found.at,
            "actor": f"{found.actor} ({found.role})",
            "action": found.action,
            "key": found.key,
            "address": found.address or None,
            "request": found.request_id or None,
            "reason": found.reason or None,
            "hash": found.hash,
        }
    )
    before, after = found.before or {}, found.after or {}
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    print_table(
        ("field", "before", "after"),
        ((name, _value(before.get(name)), _value(after.get(name))) for name in changed),
    )


@audit.command("verify")
def verify(as_json: Json = False) -> None:
    """Have the whole log verified now; exit code 1 when it is not as it was recorded."""
    with Client() as client:
        found = client.audit.verify()
    if as_json:
        print_json(found)
    elif found.ok:
        say(f"OK: {found.verified_entries} entries are as they were recorded")
    else:
        print_table(
            ("entry", "problem", "detail"),
            ((one.seq, one.problem, one.detail) for one in found.findings),
        )
        if found.further_findings:
            say(f"{found.further_findings} more findings")
    if not found.ok:
        raise typer.Exit(1)


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


def _value(value: object) -> object:
    """A field's value; as JSON where it is more than one."""
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    return value
