"""Commands about open logins."""

from typing import Annotated

import typer

from tollway.cli.output import Json, print_json, print_table, say
from tollway.client import Client

sessions = typer.Typer(help="Open logins: who is in, and from where.", rich_markup_mode=None)
OfUser = Annotated[str | None, typer.Option(help="Only this user's; others' for admins.")]
_SHOWN = ("id", "user", "address", "agent", "current", "created_at", "seen_at", "expires_at")


@sessions.callback(invoke_without_command=True)
def sessions_default(context: typer.Context, as_json: Json = False) -> None:
    """Open logins: who is in, and from where. Lists them when no command is given."""
    if context.invoked_subcommand is None:
        list_sessions(None, as_json)


@sessions.command("list")
def list_sessions(user: OfUser = None, as_json: Json = False) -> None:
    """List open sessions: one's own; for admins and auditors, all."""
    with Client() as client:
        found = client.sessions.all(user)
    if as_json:
        print_json(found)
        return
    print_table(_SHOWN, ([getattr(one, name) for name in _SHOWN] for one in found))


@sessions.command("end")
def end_session(
    session: Annotated[
        str | None, typer.Argument(metavar="ID", help="The session's id, or `current`.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All of one's own, or of --user.")
    ] = False,
    user: OfUser = None,
    as_json: Json = False,
) -> None:
    """End a session at once: its secret is worthless."""
    if everything == (session is not None):
        raise typer.BadParameter("give the session's id, or --all", param_hint="ID")
    if user is not None and not everything:
        raise typer.BadParameter("goes with --all", param_hint="--user")
    with Client() as client:
        if session is None:
            client.sessions.end_all(user)
        else:
            client.sessions.end(session)
    if as_json:
        print_json({"session": session, "user": user, "ended": True})
    elif session is not None:
        say(f"session {session} has ended")
    else:
        say(f"all sessions of {user} have ended" if user else "all of your sessions have ended")
