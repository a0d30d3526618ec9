"""Rows of subscriptions: how they are read, published and removed."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.reach import Reach
from control.resources import Subscription, optional_time
from control.store.applications import within
from control.store.pin_rows import end_pin
from control.store.tables import subscriptions
from protocol.configuration import SubscriptionDoc
from registry.clock import rfc3339
from registry.store import audit, changes


def is_subscription(application: str, model: str) -> sa.ColumnElement[bool]:
    """The condition that a row is this subscription."""
    return sa.and_(subscriptions.c.application == application, subscriptions.c.model == model)


def reachable(reach: Reach) -> sa.ColumnElement[bool]:
    """The condition that a subscription is within reach, by its application or by its model."""
    if reach.consumer is None or reach.models is None:
        return sa.true()
    mine = within(reach, subscriptions.c.application)
    if not reach.models:
        return mine
    return sa.or_(mine, subscriptions.c.model.in_(sorted(reach.models)))


def find_subscription(
    connection: Connection, application: str, model: str, reach: Reach, *, lock: bool = False
) -> Subscription | None:
    """The subscription, if it is there and within reach; ``lock`` holds it against other writers,
    so that what was judged is what is changed."""
    query = sa.select(subscriptions).where(is_subscription(application, model), reachable(reach))
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else subscription_of(row)


def publish_subscription(connection: Connection, subscription: Subscription) -> None:
    """Put the subscription's document on the stream. Only an active one has any."""
    application, model = subscription.application, subscription.model
    document = SubscriptionDoc(application=application, model=model, plan=subscription.plan)
    active = subscription.state == "active"
    changes.append(
        connection, "subscription", subscription_key(subscription), document if active else None
    )


def withdraw_subscription(connection: Connection, subscription: Subscription, now: int) -> None:
    """Remove a subscription that the caller has locked, and its pin with it."""
    key = subscription_key(subscription)
    connection.execute(
        sa.delete(subscriptions).where(
            is_subscription(subscription.application, subscription.model)
        )
    )
    if subscription.state == "active":
        changes.append(connection, "subscription", key, None)
    end_pin(connection, subscription.application, subscription.model, now)
    audit.record(
        connection, "subscription.deleted", "subscription", key, at_ms=now, before=subscription
    )


def subscription_key(subscription: Subscription) -> str:
    """Its key on the stream and in the audit log."""
    return f"{subscription.application}/{subscription.model}"


def subscription_of(row: sa.Row[tuple[object, ...]]) -> Subscription:
    """The row as the API shows it."""
    m = row._mapping
    return Subscription(
        application=m["application"],
        model=m["model"],
        plan=m["plan"],
        state=m["state"],
        requested_plan=m["requested_plan"],
        reason=m["reason"],
        decided_at=optional_time(m["decided_ms"]),
        created_at=rfc3339(m["created_ms"]),
        updated_at=rfc3339(m["updated_ms"]),
    )
