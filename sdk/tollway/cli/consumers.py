"""Commands about consumers: who owns applications."""

from typing import Annotated

import typer

from tollway.cli.output import Json, print_json, print_table, say
from tollway.client import Client

consumers = typer.Typer(
    help="Consumers: the people, teams and companies whose applications call.",
    rich_markup_mode=None,
)

ConsumerName = Annotated[str, typer.Argument(help="Name of the consumer.")]


@consumers.callback(invoke_without_command=True)
def consumers_default(context: typer.Context, as_json: Json = False) -> None:
    """Consumers: the people, teams and companies whose applications call. Lists them when no
    command is given."""
    if context.invoked_subcommand is None:
        list_consumers(as_json)


@consumers.command("list")
def list_consumers(as_json: Json = False) -> None:
    """List the consumers with their applications."""
    with Client() as client:
        found = client.consumers()
        owned = [] if as_json else client.applications()
    if as_json:
        print_json(found)
        return
    print_table(
        ("consumer", "applications", "title"),
        (
            (one.name, [app.name for app in owned if app.consumer == one.name], one.title or None)
            for one in found
        ),
    )


@consumers.command("create")
def create_consumer(
    name: ConsumerName,
    title: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    as_json: Json = False,
) -> None:
    """Make a consumer, or update it."""
    with Client() as client:
        made = client.create_consumer(name, title=title)
    if as_json:
        print_json(made)
    else:
        say(f"consumer {made.name}")


@consumers.command("delete")
def delete_consumer(
    name: ConsumerName,
    cascade: Annotated[
        bool, typer.Option("--cascade", help="End its applications too, with their keys.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete a consumer. One that has applications needs --cascade."""
    with Client() as client:
        client.delete_consumer(name, cascade=cascade)
    if as_json:
        print_json({"name": name, "deleted": True})
    else:
        say(f"consumer {name} is deleted{', with its applications' if cascade else ''}")
