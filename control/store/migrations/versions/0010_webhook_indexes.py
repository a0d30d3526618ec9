"""Indexes that find due deliveries, and an owner's webhooks, without reading the others."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_INDEXES = (
    ("ix_webhook_deliveries_webhook_state_next_ms", "webhook_deliveries",
     ["webhook", "state", "next_ms"]),
    ("ix_webhooks_consumer_id", "webhooks", ["consumer", "id"]),
    ("ix_webhooks_owner_id", "webhooks", ["owner", "id"]),
)  # fmt: skip


def upgrade() -> None:
    """Apply."""
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    """Undo."""
    for name, table, _columns in _INDEXES:
        op.drop_index(name, table_name=table)
