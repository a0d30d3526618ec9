"""Commands about issuers of JSON Web Tokens."""

from typing import Annotated

import typer

from tollway.cli.output import Json, print_json, print_table, say
from tollway.client import Client

issuers = typer.Typer(
    help="Issuers: whose JSON Web Tokens are taken beside API keys.", rich_markup_mode=None
)

IssuerName = Annotated[str, typer.Argument(help="Name of the issuer here.")]


@issuers.callback(invoke_without_command=True)
def issuers_default(context: typer.Context, as_json: Json = False) -> None:
    """Issuers: whose JSON Web Tokens are taken. Lists them when no command is given."""
    if context.invoked_subcommand is None:
        list_issuers(as_json)


@issuers.command("list")
def list_issuers(as_json: Json = False) -> None:
    """List the issuers."""
    with Client() as client:
        found = client.issuers()
    if as_json:
        print_json(found)
        return
    print_table(
        ("name", "issuer", "audiences", "algorithms", "applications", "keys from"),
        (
            (
                one.name,
                one.issuer,
                one.audiences,
                one.algorithms,
                [f"{value}={name}" for value, name in one.applications.items()]
                or f"as '{one.application_claim}' says",
                one.jwks_uri,
            )
            for one in found
        ),
    )


@issuers.command("put")
def put_issuer(
    name: IssuerName,
    issuer: Annotated[str, typer.Option(help="The exact `iss` of its tokens.")],
    jwks_uri: Annotated[str, typer.Option(help="Where its public keys are (https).")],
    audience: Annotated[list[str], typer.Option(help="For whom tokens are meant; repeatable.")],
    algorithm: Annotated[list[str], typer.Option(help="Such as RS256 or ES256; repeatable.")],
    title: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    application_claim: Annotated[
        str | None, typer.Option(help="Claim that says which application calls (azp).")
    ] = None,
    application: Annotated[
        list[str] | None, typer.Option(help="VALUE=APPLICATION of that claim; repeatable.")
    ] = None,
    scope_claim: Annotated[
        str | None, typer.Option(help="Claim that limits what a token may do.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="VALUE=SCOPE of that claim; repeatable.")
    ] = None,
    role_claim: Annotated[
        str | None, typer.Option(help="Claim that gives management roles.")
    ] = None,
    role: Annotated[
        list[str] | None, typer.Option(help="VALUE=ROLE of that claim; repeatable.")
    ] = None,
    leeway: Annotated[int | None, typer.Option(help="Seconds that clocks may differ (30).")] = None,
    max_lifetime: Annotated[
        int | None, typer.Option(help="Seconds that a token may be valid (86400).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an issuer, or replace it whole: what is left out takes its default."""
    with Client() as client:
        made = client.put_issuer(
            name,
            issuer=issuer,
            jwks_uri=jwks_uri,
            audiences=audience,
            algorithms=algorithm,
            title=title,
            application_claim=application_claim,
            applications=_pairs(application, "--application"),
            scope_claim=scope_claim,
            scopes=_pairs(scope, "--scope"),
            role_claim=role_claim,
            roles=_pairs(role, "--role"),
            leeway_s=leeway,
            max_lifetime_s=max_lifetime,
        )
    if as_json:
        print_json(made)
    else:
        say(f"tokens of {made.issuer} are taken as issuer {made.name}")


@issuers.command("delete")
def delete_issuer(name: IssuerName, as_json: Json = False) -> None:
    """Take no more tokens of an issuer."""
    with Client() as client:
        client.delete_issuer(name)
    if as_json:
        print_json({"name": name, "deleted": True})
    else:
        say(f"issuer {name} is deleted")


def _pairs(given: list[str] | None, option: str) -> dict[str, str] | None:
    """``VALUE=NAME`` options. The value may have ``=`` of its own, the name has none."""
    if given is None:
        return None
    pairs: dict[str, str] = {}
    for one in given:
        value, equals, name = one.rpartition("=")
        if not equals or not value or not name:
            raise typer.BadParameter(f"{one!r} is not VALUE=NAME", param_hint=option)
        if value in pairs:
            raise typer.BadParameter(f"{value!r} is given twice", param_hint=option)
        pairs[value] = name
    return pairs
