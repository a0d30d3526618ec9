"""Commands about API keys."""

from types import EllipsisType
from typing import Annotated

import typer

from tollway.cli.access import NONE, ApplicationName, ModelName, Plan
from tollway.cli.output import Json, note, print_fields, print_json, print_table, say
from tollway.cli.times import moment, seconds
from tollway.client import Client

keys = typer.Typer(help="API keys of applications.", rich_markup_mode=None)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id.")]
Label = Annotated[str | None, typer.Option(help="What the key is for.")]
Scope = Annotated[
    list[str] | None,
    typer.Option(help="`predict`, `explain`, `feedback` or `metadata`; repeatable."),
]
OnlyModel = Annotated[
    list[str] | None, typer.Option("--only", help="Restrict it to this model; repeatable.")
]
Network = Annotated[
    list[str] | None,
    typer.Option(help="Address or CIDR network from which it may be used; repeatable."),
]
Expires = Annotated[str | None, typer.Option(help="When it ends: 90d, 12h, or an ISO 8601 time.")]


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
    columns = ("id", "prefix", "application", "label", "scopes", "models", "networks", "created")
    print_table(
        (*columns, "last used", "expires", "revoked"),
        (
            (
                key.id,
                key.prefix,
                key.application,
                key.label or None,
                "all" if key.scopes is None else key.scopes,
                "all" if key.models is None else key.models,
                key.networks or "all",
                key.created_at,
                key.last_used_at,
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
    label: Label = None,
    environment: Annotated[str, typer.Option(help="`live` or `test`.")] = "live",
    scope: Scope = None,
    only: OnlyModel = None,
    network: Network = None,
    expires: Expires = None,
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
            scopes=scope,
            models=only,
            networks=network,
            expires_at=None if expires is None else moment(expires, "--expires", future=True),
        )
    if as_json:
        print_json(key)
        return
    print_fields({"id": key.id, "application": key.application, "secret": key.secret})
    note("Keep the secret now: it is not stored and cannot be shown again.")


@keys.command("update")
def update_key(
    key_id: KeyId,
    label: Label = None,
    scope: Scope = None,
    only: OnlyModel = None,
    network: Network = None,
    expires: Expires = None,
    as_json: Json = False,
) -> None:
    """Relabel or restrict a key. What is not given stays; `none` lifts a restriction."""
    with Client() as client:
        key = client.update_key(
            key_id,
            label=... if label is None else label,
            scopes=_listed(scope),
            models=_listed(only),
            networks=_listed(network),
            expires_at=...
            if expires is None
            else None
            if expires == NONE
            else moment(expires, "--expires", future=True),
        )
    if as_json:
        print_json(key)
    else:
        say(f"key {key.id} is changed")


@keys.command("rotate")
def rotate_key(
    key_id: KeyId,
    overlap: Annotated[
        str,
        typer.Option(help="How long earlier secrets still work: 24h, 30m, or 0 to end them now."),
    ],
    as_json: Json = False,
) -> None:
    """Give a key a new secret. It is printed once, here; the key's id stays."""
    overlap_s = seconds(overlap, "--overlap")
    with Client() as client:
        key = client.rotate_key(key_id, overlap_s)
    if as_json:
        print_json(key)
        return
    print_fields({"id": key.id, "application": key.application, "secret": key.secret})
    ends = ", ".join(str(one.ends_at) for one in key.overlaps[-1:])
    note(f"Earlier secrets work until {ends}." if ends else "Earlier secrets have ended.")
    note("Keep the secret now: it is not stored and cannot be shown again.")


@keys.command("revoke")
def revoke_key(key_id: KeyId, as_json: Json = False) -> None:
    """Make a key and all its secrets worthless at once."""
    with Client() as client:
        client.revoke_key(key_id)
    if as_json:
        print_json({"id": key_id, "revoked": True})
    else:
        say(f"key {key_id} is revoked")


def _listed(values: list[str] | None) -> list[str] | EllipsisType | None:
    if values is None:
        return ...
    return None if values == [NONE] else values
