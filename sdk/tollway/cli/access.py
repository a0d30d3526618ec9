"""Commands about applications and their subscriptions."""

from typing import Annotated

import typer

from tollway.cli.output import Json, print_json, print_table, say
from tollway.client import Client
from tollway.resources import Subscription

NONE = "none"
"""Takes away what an option could set."""
subscriptions = typer.Typer(help="Subscriptions of applications to models.", rich_markup_mode=None)
apps = typer.Typer(help="Applications: the programs that call models.", rich_markup_mode=None)

ApplicationName = Annotated[str, typer.Argument(help="Name of the application.")]
ModelName = Annotated[str, typer.Argument(help="Name of the model.")]
Plan = Annotated[str | None, typer.Option(help="Plan of the subscription.")]


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
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Web origin (https://host) whose pages may call with its keys; repeatable; `none` "
            "takes all away."
        ),
    ] = None,
    capture: Annotated[
        bool | None,
        typer.Option(
            "--capture/--no-capture",
            help="Whether payloads of its calls may be kept where a model captures some.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an application, or update it."""
    origins = [] if origin == [NONE] else origin
    with Client() as client:
        made = client.create_application(
            name, consumer=consumer, title=title, origins=origins, capture=capture
        )
    if as_json:
        print_json(made)
    else:
        say(f"application {made.name} of consumer {made.consumer}")


@apps.command("delete")
def delete_application(name: ApplicationName, as_json: Json = False) -> None:
    """End an application: its keys are revoked, its subscriptions removed."""
    with Client() as client:
        client.delete_application(name)
    if as_json:
        print_json({"name": name, "deleted": True})
    else:
        say(f"application {name} is deleted, with its keys and subscriptions")


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
        say(told(made))


@apps.command("unsubscribe")
def unsubscribe(application: ApplicationName, model: ModelName, as_json: Json = False) -> None:
    """End a subscription."""
    with Client() as client:
        client.unsubscribe(application, model)
    if as_json:
        print_json({"application": application, "model": model, "deleted": True})
    else:
        say(f"{application} may no longer call {model}")


@subscriptions.callback(invoke_without_command=True)
def subscriptions_default(context: typer.Context, as_json: Json = False) -> None:
    """Subscriptions of applications to models. Lists them when no command is given."""
    if context.invoked_subcommand is None:
        list_subscriptions(as_json=as_json)


@subscriptions.command("list")
def list_subscriptions(
    application: Annotated[str | None, typer.Option(help="Only of this application.")] = None,
    model: Annotated[str | None, typer.Option(help="Only to this model.")] = None,
    state: Annotated[
        str | None,
        typer.Option(help="`active`, `refused`, or `pending`: what waits for a decision."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List subscriptions, with what they wait for."""
    if state not in (None, "active", "pending", "refused"):
        raise typer.BadParameter(
            f"{state!r} is none of active, pending, refused", param_hint="--state"
        )
    with Client() as client:
        found = client.subscriptions(application, model, state)
    if as_json:
        print_json(found)
        return
    print_table(
        ("application", "model", "plan", "state", "requested plan", "reason"),
        ((s.application, s.model, s.plan, s.state, s.requested_plan, s.reason) for s in found),
    )


@subscriptions.command("approve")
def approve(
    application: ApplicationName,
    model: ModelName,
    reason: Annotated[str, typer.Option(help="Why; the consumer sees it.")] = "",
    as_json: Json = False,
) -> None:
    """Agree to what a subscription waits for."""
    with Client() as client:
        decided = client.approve(application, model, reason)
    if as_json:
        print_json(decided)
    else:
        say(told(decided))


@subscriptions.command("refuse")
def refuse(
    application: ApplicationName,
    model: ModelName,
    reason: Annotated[str, typer.Option(help="Why; the consumer sees it.")],
    as_json: Json = False,
) -> None:
    """Disagree. An active subscription keeps the plan that it has."""
    with Client() as client:
        decided = client.refuse(application, model, reason)
    if as_json:
        print_json(decided)
    else:
        say(told(decided))


def told(subscription: Subscription) -> str:
    """What a subscription means now, in a sentence."""
    place = f"{subscription.application} to {subscription.model}"
    if subscription.state == "pending":
        return f"the subscription of {place} waits for approval of plan {subscription.plan}"
    if subscription.state == "refused":
        return f"the subscription of {place} is refused: {subscription.reason}"
    call = f"{subscription.application} may call {subscription.model}"
    waiting = subscription.requested_plan
    more = f"; plan {waiting} waits for approval" if waiting else ""
    return f"{call} under plan {subscription.plan}{more}"
