"""The commands, in the order that ``tollway --help`` shows them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tollway import credentials
from tollway.cli.access import apps, subscriptions
from tollway.cli.alerts import alerts
from tollway.cli.audit import audit
from tollway.cli.billing import quotas, statements, usage
from tollway.cli.catalogue import catalogue
from tollway.cli.configuration import apply, diff, export
from tollway.cli.consumers import consumers
from tollway.cli.deploy import deploy
from tollway.cli.disagreement import disagreement
from tollway.cli.endings import (
    deprecate,
    retire,
    retirement_report,
    transition_report,
)
from tollway.cli.evaluation import evaluate, evidence
from tollway.cli.explain import explain
from tollway.cli.gates import approvals, approve, ask_approval, gate, refuse, requirements
from tollway.cli.issuers import issuers
from tollway.cli.keys import keys
from tollway.cli.operations import gateways, latency, refusals, settings, workers
from tollway.cli.output import Json, print_json, say
from tollway.cli.plans import plans
from tollway.cli.predict import predict
from tollway.cli.receipts import capture, captures, receipt, replay
from tollway.cli.rollouts import canary, pin, pins, rollout, shadow, unpin
from tollway.cli.sessions import sessions
from tollway.cli.upgrades import upgrade
from tollway.cli.users import models, read_password, tokens, users
from tollway.cli.versions import (
    compatibility,
    load,
    promote,
    publish,
    rollback,
    unload,
    versions,
)
from tollway.cli.webhooks import webhooks
from tollway.client import Client
from tollway.credentials import Credentials
from tollway.errors import AuthenticationError, NotFoundError
from tollway.version import __version__

app = typer.Typer(
    name="tollway",
    help="Deploy models as managed REST APIs, and look after them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """TOLLWAY_URL and TOLLWAY_TOKEN go before what `tollway login` stored."""
    if version:
        say(f"tollway {__version__}")
        raise typer.Exit


@app.command()
def login(
    url: Annotated[str | None, typer.Argument(help="URL of the server.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="Read the token from this file (DIR/admin.token).")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Log in as this user, with a password.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="Read the user's password from this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Store the server and a token for later commands (file mode 0600).

    With --user a session begins, and its secret is the token. The token or password is asked for,
    or read from stdin, or from a file: never from the command line, which other users of the
    machine can see.
    """
    chosen = credentials.resolve(url, "unset").url
    if user is not None:
        with Client(chosen, "unset") as client:
            token = client.users.log_in(user, read_password(password_file)).secret
    elif token_file is not None:
        token = token_file.read_text().strip()
    elif sys.stdin.isatty():
        token = typer.prompt("Token", hide_input=True).strip()
    else:
        token = sys.stdin.readline().strip()
    if not token:
        raise typer.BadParameter("the token is empty", param_hint="token")
    with Client(chosen, token) as client:
        client.check()
    file = credentials.save(Credentials(chosen, token))
    if as_json:
        print_json({"url": chosen, "file": str(file)})
    else:
        say(f"logged in to {chosen}; stored in {file}")


@app.command()
def logout(as_json: Json = False) -> None:
    """End the session and forget the stored token. A token that is no session stays valid."""
    stored = credentials.load()
    ended = False
    if stored is not None and stored.token:
        with Client(stored.url, stored.token) as client:
            try:
                client.users.log_out()
                ended = True
            except (AuthenticationError, NotFoundError):
                pass  # it has ended already, or is no session
    known = credentials.forget()
    if as_json:
        print_json({"forgotten": known, "session_ended": ended})
    else:
        say("logged out" if known else "nobody was logged in")


for command in (
    deploy,
    versions,
    compatibility,
    publish,
    promote,
    rollout,
    canary,
    shadow,
    rollback,
    pins,
    pin,
    unpin,
    upgrade,
    load,
    unload,
    deprecate,
    retire,
    transition_report,
    retirement_report,
    predict,
    explain,
    evaluate,
    evidence,
    disagreement,
    receipt,
    capture,
    captures,
    replay,
    requirements,
    gate,
    approvals,
    ask_approval,
    approve,
    refuse,
    alerts,
    gateways,
    workers,
    latency,
    refusals,
    settings,
    usage,
    quotas,
    statements,
    apply,
    diff,
    export,
):
    app.command()(command)
app.add_typer(models, name="models")
app.add_typer(catalogue, name="catalogue")
app.add_typer(consumers, name="consumers")
app.add_typer(apps, name="apps")
app.add_typer(subscriptions, name="subscriptions")
app.add_typer(keys, name="keys")
app.add_typer(audit, name="audit")
app.add_typer(webhooks, name="webhooks")
app.add_typer(issuers, name="issuers")
app.add_typer(plans, name="plans")
app.add_typer(users, name="users")
app.add_typer(sessions, name="sessions")
app.add_typer(tokens, name="tokens")
