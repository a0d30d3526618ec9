"""Routes of webhooks: endpoints, their secrets, and what was delivered."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response

from control.middleware import require
from control.resources import Page
from control.routes_conventions import OWNERS, WITNESSES, After, Condition, Limit, errors, tagged
from control.routes_parts import part
from control.webhooks.catalog import CATALOG
from control.webhooks.resources import (
    Delivery,
    DeliveryDetail,
    EventType,
    NewWebhook,
    Replay,
    ReplayRequest,
    RotateRequest,
    State,
    Webhook,
    WebhookChange,
    WebhookRequest,
)
from control.webhooks.service import Webhooks
from registry.access import EVERYONE, Actor

Owner = Annotated[Actor, Depends(require(*OWNERS))]
Reader = Annotated[Actor, Depends(require(*WITNESSES))]


TheWebhooks = Annotated[Webhooks, Depends(part(lambda services: services.webhooks))]


def webhook_router() -> APIRouter:
    """``/webhooks``."""
    router = APIRouter(prefix="/webhooks", tags=["webhooks"])
    _add_endpoints(router)
    _add_secrets(router)
    _add_deliveries(router)
    _add_replays(router)
    return router


def _add_endpoints(router: APIRouter) -> None:
    @router.get("", responses=errors(422))
    def list_webhooks(
        webhooks: TheWebhooks, actor: Reader, limit: Limit = 100, after: After = ""
    ) -> Page[Webhook]:
        """List webhooks by id, without their secrets."""
        return webhooks.endpoints.list(limit, after, actor)

    @router.post("", status_code=201, responses=errors(404, 409, 422))
    async def create_webhook(
        webhooks: TheWebhooks,
        request: WebhookRequest,
        response: Response,
        actor: Owner,
        idempotency_key: Annotated[
            str | None, Header(description="Makes a repetition safe: it is refused with 409.")
        ] = None,
    ) -> NewWebhook:
        """Make a webhook. Its secret is in this answer and never again.

        A consumer's webhook hears of their own applications and of the versions of models that
        these subscribe to; a publisher's of their models; an administrator's of everything.
        """
        made = await webhooks.create(request, actor, idempotency_key)
        response.headers["Location"] = f"/api/v1/webhooks/{made.id}"
        response.headers["Cache-Control"] = "no-store"
        tagged(response, Webhook.model_validate(made.model_dump(exclude={"secret"})))
        return made

    @router.get("/event-types", dependencies=[Depends(require(*EVERYONE))], responses=errors())
    def list_event_types() -> Page[EventType]:
        """List the types of events that webhooks may ask for."""
        items = [EventType(type=type, description=text) for type, text in CATALOG.items()]
        return Page(items=items, next=None)

    @router.get("/{webhook}", responses=errors(404))
    def get_webhook(
        webhooks: TheWebhooks, webhook: str, response: Response, actor: Reader
    ) -> Webhook:
        """Read a webhook, without its secret."""
        found = webhooks.endpoints.get(webhook, actor)
        tagged(response, found)
        return found

    @router.put("/{webhook}", responses=errors(404, 412, 422))
    async def put_webhook(
        webhooks: TheWebhooks,
        webhook: str,
        change: WebhookChange,
        response: Response,
        actor: Owner,
        condition: Condition,
    ) -> Webhook:
        """Change a webhook; what is left out stays. Disabling drops what is still to be sent."""
        changed = await webhooks.change(webhook, change, actor, condition)
        tagged(response, changed)
        return changed

    @router.delete("/{webhook}", status_code=204, responses=errors(404, 412))
    def delete_webhook(
        webhooks: TheWebhooks, webhook: str, actor: Owner, condition: Condition
    ) -> None:
        """Remove a webhook with its deliveries."""
        webhooks.endpoints.delete(webhook, actor, condition)


def _add_secrets(router: APIRouter) -> None:
    @router.post("/{webhook}/rotate", responses=errors(404, 412, 422))
    def rotate_webhook_secret(
        webhooks: TheWebhooks,
        webhook: str,
        response: Response,
        actor: Owner,
        condition: Condition,
        request: RotateRequest | None = None,
    ) -> NewWebhook:
        """Replace the secret. During the overlap deliveries carry both signatures.

        The new secret is in this answer and never again. With `If-Match` a repetition is refused.
        """
        wish = request or RotateRequest()
        changed = webhooks.endpoints.rotate(webhook, wish.overlap_s, actor, condition)
        tagged(response, changed)
        response.headers["Cache-Control"] = "no-store"
        return webhooks.shown(changed)

    @router.post("/{webhook}/test", status_code=202, responses=errors(404, 409))
    def test_webhook(webhooks: TheWebhooks, webhook: str, actor: Owner) -> Delivery:
        """Send an event of type `webhook.test`; the delivery tells what came of it."""
        return webhooks.deliveries.test(webhook, actor)


def _add_deliveries(router: APIRouter) -> None:
    @router.get("/{webhook}/deliveries", responses=errors(404, 422))
    def list_deliveries(
        webhooks: TheWebhooks,
        webhook: str,
        actor: Reader,
        limit: Limit = 100,
        after: After = "",
        state: Annotated[State | None, Query(description="Only in this state.")] = None,
        type: Annotated[
            str | None, Query(max_length=64, description="Only events of this type.")
        ] = None,
    ) -> Page[Delivery]:
        """List a webhook's deliveries, newest first."""
        return webhooks.deliveries.list(
            webhook, actor, limit=limit, after=after, state=state, type=type
        )

    @router.get("/{webhook}/deliveries/{delivery}", responses=errors(404))
    def get_delivery(
        webhooks: TheWebhooks, webhook: str, delivery: str, actor: Reader
    ) -> DeliveryDetail:
        """Read a delivery with the body that is sent."""
        return webhooks.deliveries.get(webhook, delivery, actor)


def _add_replays(router: APIRouter) -> None:
    @router.post(
        "/{webhook}/deliveries/{delivery}/replay", status_code=202, responses=errors(404, 409)
    )
    def replay_delivery(
        webhooks: TheWebhooks, webhook: str, delivery: str, actor: Owner
    ) -> Delivery:
        """Send a delivery again, with the same event id and body."""
        return webhooks.deliveries.replay(webhook, delivery, actor)

    @router.post("/{webhook}/replay", status_code=202, responses=errors(404, 409, 422))
    def replay_range(
        webhooks: TheWebhooks, webhook: str, request: ReplayRequest, actor: Owner
    ) -> Replay:
        """Send the events of a time again, those missed while it was disabled included.

        One request looks at 500 entries of the audit log; go on with `next` until it is null.
        """
        return webhooks.deliveries.replay_range(webhook, request, actor)
