"""Tables of webhooks. Times are UNIX milliseconds."""

import sqlalchemy as sa

from control.store.tables import NAME
from registry.store.database import metadata

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("events", sa.Text, nullable=False),
    sa.Column("title", sa.String(200), nullable=False),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("consumer", NAME),
    sa.Column("models", sa.Text),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("disabled_reason", sa.String(200), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("previous_until_ms", sa.BigInteger),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("failing_since_ms", sa.BigInteger),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.Column("idempotency_key", sa.String(255)),
    sa.UniqueConstraint("owner", "idempotency_key"),
    sa.Index("ix_webhooks_consumer_id", "consumer", "id"),
    sa.Index("ix_webhooks_owner_id", "owner", "id"),
)
"""Endpoints. ``events`` and ``models`` are JSON lists; ``since`` is the audit entry after which it
hears of events; the secret is derived from ``id`` and ``generation`` and is not here."""

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("webhook", sa.String(32), sa.ForeignKey("webhooks.id"), nullable=False),
    sa.Column("event", sa.String(64), nullable=False),
    sa.Column("type", sa.String(64), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("attempts", sa.Text, nullable=False),
    sa.Column("next_ms", sa.BigInteger),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("webhook", "event"),
    sa.Index("ix_webhook_deliveries_state_next_ms", "state", "next_ms"),
    sa.Index("ix_webhook_deliveries_webhook_state_next_ms", "webhook", "state", "next_ms"),
    sa.Index("ix_webhook_deliveries_webhook_id", "webhook", "id"),
    sa.Index("ix_webhook_deliveries_updated_ms", "updated_ms"),
)
"""One event for one endpoint: once, however often it is attempted. ``failures`` counts the attempts
of the present round; ``attempts`` is JSON of the newest ones; ``next_ms`` is also how long a
process that has taken the delivery has for it."""

webhook_cursor = sa.Table(
    "webhook_cursor",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
)
"""One row: the newest audit entry whose deliveries have been made."""
