"""Routes of subscriptions and API keys: who may call which model."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response

from control.middleware import require
from control.resources import (
    Key,
    KeyRequest,
    NewKey,
    Page,
    Subscription,
    SubscriptionRequest,
)
from control.routes_conventions import (
    READERS,
    WRITERS,
    After,
    Condition,
    Limit,
    errors,
    tagged,
)
from control.store.keys import Keys
from control.store.subscriptions import Subscriptions
from registry.access import Actor


def subscription_router(subscriptions: Subscriptions) -> APIRouter:
    """``/subscriptions``."""
    router = APIRouter(tags=["subscriptions"])
    reads = [Depends(require(*READERS))]
    writes = [Depends(require(*WRITERS))]

    @router.get("/subscriptions", dependencies=reads, responses=errors(422))
    def list_subscriptions(
        limit: Limit = 100,
        after: After = "",
        application: Annotated[str | None, Query(description="Only of this application.")] = None,
        model: Annotated[str | None, Query(description="Only to this model.")] = None,
    ) -> Page[Subscription]:
        """List subscriptions by application and model."""
        return subscriptions.list(limit, after, application, model)

    @router.get("/subscriptions/{application}/{model}", dependencies=reads, responses=errors(404))
    def get_subscription(application: str, model: str, response: Response) -> Subscription:
        """Read a subscription."""
        found = subscriptions.get(application, model)
        tagged(response, found)
        return found

    @router.put(
        "/subscriptions/{application}/{model}",
        dependencies=writes,
        responses={201: {"model": Subscription, "description": "Made."}, **errors(404, 412, 422)},
    )
    def put_subscription(
        application: str,
        model: str,
        request: SubscriptionRequest,
        response: Response,
        condition: Condition,
    ) -> Subscription:
        """Subscribe an application to a model, or move it to another plan."""
        put = subscriptions.put(application, model, request.plan, condition)
        tagged(response, put.item, created=put.created)
        return put.item

    @router.delete(
        "/subscriptions/{application}/{model}",
        status_code=204,
        dependencies=writes,
        responses=errors(404, 412),
    )
    def delete_subscription(application: str, model: str, condition: Condition) -> None:
        """End a subscription: every gateway refuses its calls within a second."""
        subscriptions.delete(application, model, condition)

    return router


def key_router(keys: Keys) -> APIRouter:
    """``/keys``."""
    router = APIRouter(tags=["keys"])
    reads = [Depends(require(*READERS))]

    @router.post("/keys", status_code=201, responses=errors(404, 409, 422))
    def create_key(
        request: KeyRequest,
        response: Response,
        actor: Annotated[Actor, Depends(require(*WRITERS))],
        idempotency_key: Annotated[
            str | None,
            Header(
                description="A repeated POST with the same value makes no second key: it is "
                "answered 409 with the id of the first, whose secret cannot be shown again."
            ),
        ] = None,
    ) -> NewKey:
        """Make an API key. The answer is the only place where its secret is ever shown."""
        made = keys.create(request, created_by=actor.name, idempotency_key=idempotency_key)
        response.headers["Location"] = f"/api/v1/keys/{made.id}"
        response.headers["Cache-Control"] = "no-store"
        return made

    @router.get("/keys", dependencies=reads, responses=errors(422))
    def list_keys(
        limit: Limit = 100,
        after: After = "",
        application: Annotated[str | None, Query(description="Only of this application.")] = None,
    ) -> Page[Key]:
        """List keys, revoked ones included, without their secrets."""
        return keys.list(limit, after, application)

    @router.get("/keys/{key}", dependencies=reads, responses=errors(404))
    def get_key(key: str, response: Response) -> Key:
        """Read a key, without its secret."""
        found = keys.get(key)
        tagged(response, found)
        return found

    @router.post(
        "/keys/{key}/revoke", dependencies=[Depends(require(*WRITERS))], responses=errors(404)
    )
    def revoke_key(key: str) -> Key:
        """End a key for good: every gateway refuses it within a second. Repeating is harmless."""
        return keys.revoke(key)

    return router
