"""Which endpoint hears of which event, and who may see which endpoint."""

from collections.abc import Callable
from typing import NamedTuple

from control.reach import reach_of
from control.webhooks.events import Event, matches
from control.webhooks.resources import Scope, Webhook
from protocol.errors import Code, TollwayError
from registry.access import Actor


class Relations(NamedTuple):
    """What the audience of an event depends on, as it is now."""

    consumer_of: Callable[[str], str | None]
    """The consumer that an application belongs to."""
    subscribes: Callable[[str, str], bool]
    """``subscribes(consumer, model)``: whether an application of the consumer may call it."""
    managed_by: Callable[[str], frozenset[str] | None]
    """The models that a user manages; None: all."""


def hears(webhook: Webhook, event: Event, relations: Relations) -> bool:
    """Whether the endpoint gets the event: it asked for the type, and the matter is its own."""
    if not matches(webhook.events, event.type):
        return False
    match webhook.scope:
        case "all":
            # An administrator who is none any more hears no more either.
            return relations.managed_by(webhook.owner) is None
        case "consumer":
            return _is_of_consumer(webhook.consumer or "", event, relations)
        case "models":
            return _is_of_models(webhook, event, relations)


def _is_of_consumer(consumer: str, event: Event, relations: Relations) -> bool:
    if event.application is not None:
        return (event.consumer or relations.consumer_of(event.application)) == consumer
    if event.model is not None and event.offered:
        return relations.subscribes(consumer, event.model)
    return False


def _is_of_models(webhook: Webhook, event: Event, relations: Relations) -> bool:
    if event.model is None or (webhook.models is not None and event.model not in webhook.models):
        return False
    managed = relations.managed_by(webhook.owner)
    return managed is None or event.model in managed


def reaches(actor: Actor, webhook: Webhook) -> bool:
    """Whether the endpoint exists for the actor."""
    if webhook.scope == "consumer":
        # An account that was never given a consumer reaches none.
        return webhook.consumer is not None and reach_of(actor).has_consumer(webhook.consumer)
    if actor.role == "consumer":
        return False
    if actor.consumer is None and actor.models is None:
        return True
    if webhook.scope == "all":
        return False
    if webhook.owner == actor.name:
        return True
    return webhook.models is not None and all(map(actor.manages_model, webhook.models))


class Claim(NamedTuple):
    """What a new endpoint is restricted to."""

    scope: Scope
    consumer: str | None
    models: list[str] | None


def claim(actor: Actor, consumer: str | None, models: list[str] | None) -> Claim:
    """What an endpoint made by ``actor`` with these wishes hears of; never more than they reach.

    Raises ``NOT_FOUND`` and ``MODEL_NOT_FOUND`` for what they do not reach, ``INVALID`` and
    ``FORBIDDEN``.
    """
    if consumer is not None and models is not None:
        raise TollwayError(Code.INVALID, "give consumer or models, not both")
    if actor.role == "consumer" and actor.consumer is None:
        raise TollwayError(
            Code.FORBIDDEN, "your user belongs to no consumer: have an administrator assign one"
        )
    if consumer is not None and not actor.reaches_application(consumer):
        raise TollwayError(Code.NOT_FOUND, f"there is no consumer {consumer[:80]!r}")
    if models is not None:
        for model in models:
            if actor.role == "consumer" or not actor.manages_model(model):
                raise TollwayError(Code.MODEL_NOT_FOUND, f"there is no model {model[:80]!r}")
        return Claim("models", None, list(dict.fromkeys(models)))
    if consumer is not None:
        return Claim("consumer", consumer, None)
    if actor.role == "consumer":
        return Claim("consumer", actor.consumer, None)
    if actor.consumer is None and actor.models is None:
        return Claim("all", None, None)
    return Claim("models", None, None)
