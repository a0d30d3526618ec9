"""From the audit log to deliveries: each entry once, in the transaction that moves the cursor."""

import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from control.identity.roles import MANAGERS, UNBOUND
from control.store.failures import repeated
from control.store.tables import applications, management_tokens, subscriptions
from control.store.user_tables import grants, users
from control.store.webhook_tables import webhook_cursor, webhook_deliveries, webhooks
from control.store.webhooks import webhook_of
from control.webhooks.audience import Relations, hears
from control.webhooks.events import AuditRow, Event, event_of
from control.webhooks.resources import Webhook
from registry.clock import Clock
from registry.store.audit import audit, audit_head
from registry.store.database import Database
from registry.store.tables import models

BATCH = 500
"""Audit entries that one transaction looks at."""


class EventLog:
    """Makes deliveries out of audit entries. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @repeated
    def begin(self) -> None:
        """Start at the present end of the audit log, if no cursor is there yet."""
        with self._database.write() as connection:
            if connection.execute(sa.select(webhook_cursor.c.id)).first() is None:
                head = connection.execute(sa.select(audit_head.c.seq)).scalar()
                connection.execute(sa.insert(webhook_cursor).values(id=1, seq=head or 0))

    @repeated
    def expand(self) -> int:
        """Make the deliveries of the next entries. Returns how many entries there were."""
        with self._database.read() as connection:
            head = connection.execute(sa.select(audit_head.c.seq)).scalar()
            if head == connection.execute(sa.select(webhook_cursor.c.seq)).scalar():
                return 0
        with self._database.write() as connection:
            cursor = connection.execute(
                sa.select(webhook_cursor.c.seq).where(webhook_cursor.c.id == 1).with_for_update()
            ).scalar_one()
            rows = entries(connection, sa.and_(audit.c.seq > cursor))
            if not rows:
                return 0
            endpoints = [
                (row.since, webhook_of(row._mapping))
                for row in connection.execute(sa.select(webhooks).where(webhooks.c.enabled))
            ]
            known = relations(connection)
            heard = [
                (webhook.id, event)
                for event in filter(None, map(event_of, rows))
                for since, webhook in endpoints
                if event.seq > since and hears(webhook, event, known)
            ]
            queue_new(connection, heard, self._clock())
            connection.execute(
                sa.update(webhook_cursor).where(webhook_cursor.c.id == 1).values(seq=rows[-1].seq)
            )
            return len(rows)


def entries(connection: Connection, condition: sa.ColumnElement[bool]) -> list[AuditRow]:
    """The first :data:`BATCH` audit entries of those that the condition holds for, by number."""
    table = audit.c
    query = (
        sa.select(
            table.seq,
            table.at_ms,
            table.action,
            table.kind,
            table.key,
            table.before,
            table.after,
            table.hash,
        )
        .where(condition)
        .order_by(table.seq)
        .limit(BATCH)
    )
    return [AuditRow(**row._mapping) for row in connection.execute(query)]


def events_for(webhook: Webhook, rows: Iterable[AuditRow], known: Relations) -> list[Event]:
    """The events among the entries that the endpoint hears of."""
    return [event for event in filter(None, map(event_of, rows)) if hears(webhook, event, known)]


def queue_new(connection: Connection, heard: Sequence[tuple[str, Event]], now: int) -> None:
    """Queue each event for its endpoint, unless it is or was queued already: one statement."""
    if not heard:
        return
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    rows = [
        _delivery(webhook, event.id, event.type, event.body, now)
        for webhook, event in sorted(heard, key=lambda pair: (pair[0], pair[1].id))
    ]
    connection.execute(insert(webhook_deliveries).on_conflict_do_nothing(), rows)


def queue(connection: Connection, webhook: str, event: str, type: str, body: str, now: int) -> str:
    """Add a delivery that is due now. Returns its id, which sorts by time."""
    row = _delivery(webhook, event, type, body, now)
    connection.execute(sa.insert(webhook_deliveries).values(row))
    return str(row["id"])


def _delivery(webhook: str, event: str, type: str, body: str, now: int) -> dict[str, object]:
    return {
        "id": f"dlv-{now:012x}{secrets.token_hex(6)}",
        "webhook": webhook,
        "event": event,
        "type": type,
        "body": body,
        "state": "pending",
        "failures": 0,
        "attempts": "[]",
        "next_ms": now,
        "created_ms": now,
        "updated_ms": now,
    }


def relations(connection: Connection) -> Relations:
    """What audiences depend on, as this transaction sees it; each question is asked once."""

    @lru_cache(maxsize=1000)
    def consumer_of(application: str) -> str | None:
        query = sa.select(applications.c.consumer).where(applications.c.name == application)
        found = connection.execute(query).scalar()
        return None if found is None else str(found)

    @lru_cache(maxsize=1000)
    def subscribes(consumer: str, model: str) -> bool:
        query = (
            sa.select(subscriptions.c.model)
            .join(applications, applications.c.name == subscriptions.c.application)
            .where(
                applications.c.consumer == consumer,
                subscriptions.c.model == model,
                subscriptions.c.state == "active",
            )
        )
        return connection.execute(query.limit(1)).first() is not None

    @lru_cache(maxsize=1000)
    def managed_by(user: str) -> frozenset[str] | None:
        return managed_models(connection, user)

    return Relations(consumer_of, subscribes, managed_by)


def managed_models(connection: Connection, name: str) -> frozenset[str] | None:
    """The models that somebody manages at this moment; None: all, as administrators do."""
    query = sa.select(users.c.role, users.c.disabled).where(
        users.c.name == name, users.c.deleted_ms.is_(None)
    )
    user = connection.execute(query).first()
    if user is None:
        # The holder of an installation's token is no user.
        token = sa.select(management_tokens.c.role).where(management_tokens.c.name == name)
        roles = set(connection.execute(token).scalars())
    else:
        roles = set() if user.disabled else {user.role}
    if roles & UNBOUND:
        return None
    if not roles & MANAGERS:
        return frozenset()
    managed = sa.union(
        sa.select(models.c.name).where(models.c.owner == name),
        sa.select(grants.c.model).where(grants.c.user_name == name),
    )
    return frozenset(connection.execute(managed).scalars())
