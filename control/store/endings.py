"""What ends with an application: its keys, its subscriptions, and the right to its name."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.applications import application_of
from control.store.key_rows import revoke_row, shown, with_overlaps
from control.store.subscription_rows import subscription_of, withdraw_subscription
from control.store.tables import (
    api_keys,
    applications,
    ended_applications,
    key_overlaps,
    subscriptions,
)
from registry.store import audit, changes


def end_applications(connection: Connection, names: Sequence[str], now: int) -> None:
    """Delete the applications, and what is theirs; each end has an audit entry of its own."""
    # Every lock before the first change: whoever holds one of these rows is waited for while this
    # transaction holds up nobody else.
    owners = sa.select(applications).where(applications.c.name.in_(names))
    ended = [
        application_of(row)
        for row in connection.execute(owners.order_by(applications.c.name).with_for_update())
    ]
    held = sa.select(api_keys).where(api_keys.c.application.in_(names)).order_by(api_keys.c.id)
    keys = with_overlaps(connection, connection.execute(held.with_for_update()).all())
    taken = sa.select(subscriptions).where(subscriptions.c.application.in_(names))
    ordered = taken.order_by(subscriptions.c.application, subscriptions.c.model)
    subscribed = [subscription_of(row) for row in connection.execute(ordered.with_for_update())]

    for application in ended:
        # First: every writer locks the stream's row before the audit log's.
        changes.append(connection, "application", application.name, None)
    for key in keys:
        if key.revoked_ms is None:
            revoked = revoke_row(connection, key, now)
            before, after = shown(key, now), shown(revoked, now)
            audit.record(
                connection, "key.revoked", "key", key.id, at_ms=now, before=before, after=after
            )
    ids = [key.id for key in keys]
    connection.execute(sa.delete(key_overlaps).where(key_overlaps.c.key.in_(ids)))
    connection.execute(sa.delete(api_keys).where(api_keys.c.application.in_(names)))
    for one in subscribed:
        withdraw_subscription(connection, one, now)
    for application in ended:
        name = application.name
        row = {"name": name, "consumer": application.consumer, "ended_ms": now}
        connection.execute(sa.insert(ended_applications).values(row))
        connection.execute(sa.delete(applications).where(applications.c.name == name))
        audit.record(
            connection, "application.deleted", "application", name, at_ms=now, before=application
        )
