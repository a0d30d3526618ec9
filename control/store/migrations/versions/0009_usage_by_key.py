"""Indexes for usage reports of one key."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ROLLUPS = ("usage_minutes", "usage_hours", "usage_days")


def upgrade() -> None:
    """Apply."""
    for name in ROLLUPS:
        op.create_index(f"ix_{name}_key_minute", name, ["key", "minute"], unique=False)
    op.create_index(
        "ix_usage_blocks_key_grain_minute", "usage_blocks", ["key", "grain", "minute"], unique=False
    )


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_usage_blocks_key_grain_minute", table_name="usage_blocks")
    for name in reversed(ROLLUPS):
        op.drop_index(f"ix_{name}_key_minute", table_name=name)
