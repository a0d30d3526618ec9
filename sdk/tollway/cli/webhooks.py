"""Commands about webhooks."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from tollway import errors
from tollway.cli.output import Json, note, print_fields, print_json, print_table, say
from tollway.cli.times import moment
from tollway.client import Client
from tollway.webhook_endpoints import Delivery, NewWebhook

webhooks = typer.Typer(help="Webhooks: events told to your servers.", rich_markup_mode=None)

WebhookId = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id.")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", help="Event type, KIND.* or *; repeatable. All when left out."),
]
_WAIT_S = 30.0
_PAUSE_S = 0.25


@webhooks.callback(invoke_without_command=True)
def webhooks_default(context: typer.Context, as_json: Json = False) -> None:
    """Webhooks: events told to your servers. Lists them when no command is given."""
    if context.invoked_subcommand is None:
        list_webhooks(as_json)


@webhooks.command("list")
def list_webhooks(as_json: Json = False) -> None:
    """List webhooks, without their secrets."""
    with Client() as client:
        found = client.webhooks.all()
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "url", "events", "hears of", "enabled", "failing since", "title"),
        (
            (
                one.id,
                one.url,
                one.events,
                one.consumer or one.models or one.scope,
                one.enabled if not one.disabled_reason else f"no: {one.disabled_reason}",
                one.failing_since,
                one.title or None,
            )
            for one in found
        ),
    )


@webhooks.command("create")
def create_webhook(
    url: Annotated[str, typer.Argument(help="Where to post to: https://...")],
    event: Events = None,
    title: Annotated[str, typer.Option(help="A name for people.")] = "",
    consumer: Annotated[str | None, typer.Option(help="Only this consumer's matters.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Only this model's matters; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a webhook. Its secret is printed once, here."""
    with Client() as client:
        made = client.webhooks.create(
            url, event or ["*"], title=title, consumer=consumer, models=model or None
        )
    _show_secret(made, as_json)


@webhooks.command("update")
def update_webhook(
    webhook: WebhookId,
    url: Annotated[str | None, typer.Option(help="Another URL.")] = None,
    event: Events = None,
    title: Annotated[str | None, typer.Option(help="Another name for people.")] = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether it gets deliveries.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Change a webhook; what is left out stays."""
    with Client() as client:
        changed = client.webhooks.change(
            webhook, url=url, events=event or None, title=title, enabled=enabled
        )
    if as_json:
        print_json(changed)
    else:
        state = "enabled" if changed.enabled else "disabled"
        say(f"webhook {changed.id} posts {', '.join(changed.events)} to {changed.url}; {state}")


@webhooks.command("delete")
def delete_webhook(webhook: WebhookId, as_json: Json = False) -> None:
    """Remove a webhook with its deliveries."""
    with Client() as client:
        client.webhooks.delete(webhook)
    if as_json:
        print_json({"id": webhook, "deleted": True})
    else:
        say(f"webhook {webhook} is removed")


@webhooks.command("rotate")
def rotate_webhook(
    webhook: WebhookId,
    overlap_s: Annotated[
        int, typer.Option("--overlap-s", help="Seconds in which both secrets sign; 0: none.")
    ] = 24 * 3600,
    as_json: Json = False,
) -> None:
    """Replace a webhook's secret. The new one is printed once, here."""
    with Client() as client:
        changed = client.webhooks.rotate(webhook, overlap_s)
    _show_secret(changed, as_json)


@webhooks.command("test")
def send_test(webhook: WebhookId, as_json: Json = False) -> None:
    """Send a test event, and show what came of it."""
    with Client() as client:
        sent = client.webhooks.test(webhook)
        deadline = time.monotonic() + _WAIT_S
        while not sent.attempts and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
            sent = client.webhooks.delivery(webhook, sent.id)
    if as_json:
        print_json(sent)
    if sent.state != "delivered":
        reason = sent.attempts[-1].error if sent.attempts else "it has not been attempted yet"
        raise errors.TollwayError(f"the test event was not taken: {reason}")
    if not as_json:
        say(f"taken with status {sent.attempts[-1].status} in {sent.attempts[-1].duration_ms} ms")


@webhooks.command("deliveries")
def list_deliveries(
    webhook: WebhookId,
    state: Annotated[
        str | None, typer.Option(help="Only `pending`, `delivered` or `failed`.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List deliveries, newest first."""
    with Client() as client:
        found = client.webhooks.deliveries(webhook, state=state)
    if as_json:
        print_json(found)
        return
    print_table(
        ("id", "event", "type", "state", "attempts", "last", "next attempt", "created"),
        (
            (
                one.id, one.event, one.type, one.state, len(one.attempts), _last(one),
                one.next_attempt_at, one.created_at,
            )
            for one in found
        ),
    )  # fmt: skip


@webhooks.command("replay")
def replay(
    webhook: WebhookId,
    delivery: Annotated[str | None, typer.Argument(help="A delivery's id.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Instead: a time, as 12h ago or ISO 8601.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Until then; now when left out.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what was delivered already.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send a delivery again, or the events of a time that failed or were missed."""
    if (delivery is None) == (start is None):
        raise typer.BadParameter("give either a delivery's id or --from", param_hint="replay")
    with Client() as client:
        if delivery is not None:
            client.webhooks.replay(webhook, delivery)
            queued = 1
        else:
            queued = client.webhooks.replay_range(
                webhook,
                moment(start or "", "--from"),
                datetime.now(UTC) if end is None else moment(end, "--to"),
                everything=everything,
            )
    if as_json:
        print_json({"queued": queued})
    else:
        say(f"{queued} queued")


def _last(delivery: Delivery) -> str | None:
    if not delivery.attempts:
        return None
    attempt = delivery.attempts[-1]
    return attempt.error or str(attempt.status)


def _show_secret(webhook: NewWebhook, as_json: bool) -> None:
    if as_json:
        print_json(webhook)
        return
    print_fields({"id": webhook.id, "url": webhook.url, "secret": webhook.secret})
    note("Keep the secret now: it is not stored and cannot be shown again.")
