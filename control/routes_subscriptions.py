"""Routes of subscriptions: which application may call which model."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from control.middleware import require
from control.reach import reach_of
from control.resources import (
    Approval,
    Page,
    Refusal,
    Subscription,
    SubscriptionRequest,
    SubscriptionState,
)
from control.routes_conventions import (
    OWNERS,
    WRITERS,
    After,
    Condition,
    Limit,
    errors,
    tagged,
)
from control.routes_parts import part
from control.store.subscriptions import Subscriptions
from registry.access import EVERYONE, Actor

Reader = Annotated[Actor, Depends(require(*EVERYONE))]
Owner = Annotated[Actor, Depends(require(*OWNERS))]
Decider = Annotated[Actor, Depends(require(*WRITERS))]
_PLACE = "/subscriptions/{application}/{model}"


TheSubscriptions = Annotated[Subscriptions, Depends(part(lambda services: services.subscriptions))]


def subscription_router() -> APIRouter:
    """``/subscriptions``."""
    router = APIRouter(tags=["subscriptions"])
    _add_management(router)
    _add_decisions(router)
    return router


def _add_management(router: APIRouter) -> None:
    @router.get("/subscriptions", responses=errors(422))
    def list_subscriptions(
        subscriptions: TheSubscriptions,
        actor: Reader,
        limit: Limit = 100,
        after: After = "",
        application: Annotated[str | None, Query(description="Only of this application.")] = None,
        model: Annotated[str | None, Query(description="Only to this model.")] = None,
        state: Annotated[
            SubscriptionState | None,
            Query(description="`pending` includes active ones that wait for another plan."),
        ] = None,
        plan: Annotated[
            str | None, Query(max_length=63, description="Only of, or waiting for, this plan.")
        ] = None,
    ) -> Page[Subscription]:
        """List subscriptions by application and model."""
        return subscriptions.list(
            limit, after, application, model, state, plan, reach=reach_of(actor)
        )

    @router.get(_PLACE, responses=errors(404))
    def get_subscription(
        subscriptions: TheSubscriptions,
        application: str,
        model: str,
        response: Response,
        actor: Reader,
    ) -> Subscription:
        """Read a subscription."""
        found = subscriptions.get(application, model, reach=reach_of(actor))
        tagged(response, found)
        return found

    @router.put(
        _PLACE,
        responses={
            201: {"model": Subscription, "description": "Made."},
            **errors(404, 409, 412, 422),
        },
    )
    def put_subscription(
        subscriptions: TheSubscriptions,
        application: str,
        model: str,
        request: SubscriptionRequest,
        response: Response,
        condition: Condition,
        actor: Owner,
    ) -> Subscription:
        """Subscribe an application to a model, or move it to another plan.

        Under a plan that asks for approval it is `pending` until who manages the model approves;
        an active one keeps its plan meanwhile and shows the other as `requested_plan`.
        """
        put = subscriptions.put(application, model, request.plan, condition, reach=reach_of(actor))
        tagged(response, put.item, created=put.created)
        return put.item

    @router.delete(_PLACE, status_code=204, responses=errors(404, 412))
    def delete_subscription(
        subscriptions: TheSubscriptions,
        application: str,
        model: str,
        condition: Condition,
        actor: Owner,
    ) -> None:
        """End a subscription: every gateway refuses its calls within a second."""
        subscriptions.delete(application, model, condition, reach=reach_of(actor))


def _add_decisions(router: APIRouter) -> None:
    @router.post(_PLACE + "/approve", responses=errors(404, 409, 412, 422))
    def approve_subscription(
        subscriptions: TheSubscriptions,
        application: str,
        model: str,
        response: Response,
        condition: Condition,
        actor: Decider,
        request: Approval | None = None,
    ) -> Subscription:
        """Approve what a subscription waits for. Only who manages the model can."""
        reason = "" if request is None else request.reason
        decided = subscriptions.approve(
            application, model, reason, condition, reach=reach_of(actor)
        )
        tagged(response, decided)
        return decided

    @router.post(_PLACE + "/refuse", responses=errors(404, 409, 412, 422))
    def refuse_subscription(
        subscriptions: TheSubscriptions,
        application: str,
        model: str,
        request: Refusal,
        response: Response,
        condition: Condition,
        actor: Decider,
    ) -> Subscription:
        """Refuse what a subscription waits for. An active one keeps the plan that it has."""
        decided = subscriptions.refuse(
            application, model, request.reason, condition, reach=reach_of(actor)
        )
        tagged(response, decided)
        return decided
