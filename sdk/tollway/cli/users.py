"""Commands about users and personal tokens, and about who manages a model."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tollway.accounts import User
from tollway.cli.output import Json, note, print_fields, print_json, print_table, say
from tollway.cli.times import moment
from tollway.cli.versions import ModelName, list_models
from tollway.client import Client

users = typer.Typer(help="Users: who manages and uses models.", rich_markup_mode=None)
tokens = typer.Typer(help="Personal tokens: for scripts, in one's name.", rich_markup_mode=None)
models = typer.Typer(help="Models, and who manages them.", rich_markup_mode=None)

UserName = Annotated[str, typer.Argument(help="Name of the user.")]
PasswordFile = Annotated[Path | None, typer.Option(help="Read the password from this file.")]
Role = Annotated[
    str | None, typer.Option(help="`admin`, `publisher`, `sponsor`, `consumer` or `auditor`.")
]


def read_password(file: Path | None, prompt: str = "Password", *, confirm: bool = False) -> str:
    """From a file, a terminal, or a line of stdin: never from the command line, which other users
    of the machine can see."""
    if file is not None:
        return file.read_text().rstrip("\r\n")
    if sys.stdin.isatty():
        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm))
    return sys.stdin.readline().rstrip("\r\n")


@users.callback(invoke_without_command=True)
def users_default(context: typer.Context, as_json: Json = False) -> None:
    """Users: who manages and uses models. Lists them when no command is given."""
    if context.invoked_subcommand is None:
        list_users(as_json)


@users.command("list")
def list_users(as_json: Json = False) -> None:
    """List the users."""
    with Client() as client:
        found = client.users.all()
    if as_json:
        print_json(found)
        return
    print_table(
        ("name", "role", "consumer", "title", "email", "login", "disabled"),
        (
            (
                one.name,
                one.role,
                one.consumer,
                one.title or None,
                one.email,
                one.issuer or ("password" if one.has_password else None),
                one.disabled,
            )
            for one in found
        ),
    )


@users.command("me")
def show_me(as_json: Json = False) -> None:
    """Show who the token belongs to."""
    with Client() as client:
        me = client.users.me()
    if as_json:
        print_json(me)
        return
    print_fields(
        {
            "name": me.name,
            "role": me.role,
            "by": me.credential,
            "consumer": me.consumer,
            "models": "all" if me.models is None else me.models,
        }
    )


@users.command("put")
def put_user(
    name: UserName,
    role: Role = None,
    title: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    email: Annotated[str | None, typer.Option(help="An address to write to.")] = None,
    consumer: Annotated[str | None, typer.Option(help="The consumer they belong to.")] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a password, or read it from stdin.")
    ] = False,
    password_file: PasswordFile = None,
    disabled: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Whether they are kept out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a user, or change what is given."""
    secret = None
    if password or password_file is not None:
        secret = read_password(password_file, confirm=True)
    with Client() as client:
        made = client.users.put(
            name,
            role=role,
            title=title,
            email=email,
            consumer=consumer,
            password=secret,
            disabled=disabled,
        )
    _show(made, as_json)


@users.command("delete")
def delete_user(name: UserName, as_json: Json = False) -> None:
    """Remove a user with their sessions and tokens."""
    with Client() as client:
        client.users.delete(name)
    if as_json:
        print_json({"name": name, "deleted": True})
    else:
        say(f"user {name} is removed")


@users.command("password")
def change_password(as_json: Json = False) -> None:
    """Change one's own password. Without a terminal: the old and the new one, a line each."""
    old = read_password(None, "Old password")
    new = read_password(None, "New password", confirm=True)
    with Client() as client:
        client.users.change_password(old, new)
    if as_json:
        print_json({"changed": True})
    else:
        say("the password is changed; other sessions have ended")


@tokens.callback(invoke_without_command=True)
def tokens_default(context: typer.Context, as_json: Json = False) -> None:
    """Personal tokens: for scripts, in one's name. Lists them when no command is given."""
    if context.invoked_subcommand is None:
        list_tokens(None, as_json)


@tokens.command("list")
def list_tokens(
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    as_json: Json = False,
) -> None:
    """List tokens, without their secrets."""
    with Client() as client:
        found = client.tokens.all(user)
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "prefix", "user", "role", "label", "created", "expires", "revoked"),
        (
            (
                one.id,
                one.prefix,
                one.user,
                one.role,
                one.label or None,
                one.created_at,
                one.expires_at,
                one.revoked_at,
            )
            for one in found
        ),
    )


@tokens.command("create")
def create_token(
    label: Annotated[str, typer.Option(help="What the token is for.")] = "",
    role: Annotated[str | None, typer.Option(help="A narrower role than one's own.")] = None,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 90d, 12h, or an ISO 8601 time.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="For another user (admins).")] = None,
    as_json: Json = False,
) -> None:
    """Make a token. Its secret is printed once, here."""
    at = None if expires is None else moment(expires, "--expires", future=True)
    with Client() as client:
        made = client.tokens.create(label, role=role, expires_at=at, user=user)
    if as_json:
        print_json(made)
        return
    print_fields({"id": made.id, "user": made.user, "role": made.role, "secret": made.secret})
    note("Keep the secret now: it is not stored and cannot be shown again.")


@tokens.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(metavar="ID", help="The token's id.")],
    as_json: Json = False,
) -> None:
    """Make a token worthless at once."""
    with Client() as client:
        revoked = client.tokens.revoke(token)
    if as_json:
        print_json(revoked)
    else:
        say(f"token {token} is revoked")


@models.callback(invoke_without_command=True)
def models_default(context: typer.Context, as_json: Json = False) -> None:
    """Models, and who manages them. Lists the models when no command is given."""
    if context.invoked_subcommand is None:
        list_models(as_json)


@models.command("idle")
def unload_when_idle(
    model: ModelName,
    unload_after: Annotated[
        int,
        typer.Option(help="Seconds without a call after which it is unloaded; 0: never.", min=0),
    ],
    wait: Annotated[
        int | None,
        typer.Option(help="Seconds that a call may wait for it to be loaded; 0: refused.", min=0),
    ] = None,
    as_json: Json = False,
) -> None:
    """Unload a model while nobody calls it: the next call loads it again."""
    with Client() as client:
        changed = client.unload_when_idle(model, unload_after, cold_start_wait_s=wait)
    if as_json:
        print_json(changed)
    elif not changed.idle_unload_s:
        say(f"{model} stays loaded")
    else:
        waits = changed.cold_start_wait_s
        meanwhile = f"wait up to {waits} s" if waits else "are refused with 503"
        say(f"{model} is unloaded after {changed.idle_unload_s} s without a call")
        say(f"calls {meanwhile} while it is loaded again")


@models.command("grants")
def list_grants(model: ModelName, as_json: Json = False) -> None:
    """Show who manages a model: its owner and those with a grant."""
    with Client() as client:
        owner, found = client.grants.owner(model), client.grants.all(model)
    if as_json:
        print_json({"model": model, "owner": owner, "grants": found})
        return
    print_table(
        ("user", "as", "since", "by"),
        [
            (owner, "owner", None, None),
            *((one.user, "grant", one.created_at, one.created_by) for one in found),
        ],
    )


@models.command("grant")
def grant(model: ModelName, user: UserName, as_json: Json = False) -> None:
    """Let a user manage a model, as far as their role goes."""
    with Client() as client:
        made = client.grants.put(model, user)
    if as_json:
        print_json(made)
    else:
        say(f"{user} manages {model} too")


@models.command("revoke")
def take_back(model: ModelName, user: UserName, as_json: Json = False) -> None:
    """Take a grant back."""
    with Client() as client:
        client.grants.delete(model, user)
    if as_json:
        print_json({"model": model, "user": user, "revoked": True})
    else:
        say(f"{user} does not manage {model} any more")


@models.command("transfer")
def transfer(model: ModelName, user: UserName, as_json: Json = False) -> None:
    """Give a model to another publisher or admin."""
    with Client() as client:
        client.grants.transfer(model, user)
    if as_json:
        print_json({"model": model, "owner": user})
    else:
        say(f"{model} belongs to {user}")


def _show(user: User, as_json: bool) -> None:
    if as_json:
        print_json(user)
        return
    state = "disabled" if user.disabled else "may log in"
    say(f"user {user.name}: {user.role}, consumer {user.consumer or '-'}; {state}")
