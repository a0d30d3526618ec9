"""Plans, and what keys, applications and subscriptions gained."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "plans",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_plans")),
    )
    op.create_table(
        "ended_applications",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("consumer", sa.String(length=63), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_ended_applications")),
    )
    op.add_column(
        "applications", sa.Column("origins", sa.Text(), server_default="[]", nullable=False)
    )
    for column in (
        sa.Column("state", sa.String(length=16), server_default="active", nullable=False),
        sa.Column("requested_plan", sa.String(length=63), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
    ):
        op.add_column("subscriptions", column)
    for name in ("plan", "requested_plan"):
        op.create_index(f"ix_subscriptions_{name}", "subscriptions", [name], unique=False)
    for column in (
        sa.Column("generation", sa.Integer(), server_default="1", nullable=False),
        sa.Column("scopes", sa.Text(), nullable=True),
        sa.Column("networks", sa.Text(), server_default="[]", nullable=False),
        sa.Column("rotated_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_used_ms", sa.BigInteger(), nullable=True),
        sa.Column("rotated_by", sa.String(length=255), nullable=True),
        sa.Column("rotation_key", sa.String(length=255), nullable=True),
    ):
        op.add_column("api_keys", column)
    op.create_table(
        "key_overlaps",
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("ends_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["key"], ["api_keys.id"], name=op.f("fk_key_overlaps_key")),
        sa.PrimaryKeyConstraint("key", "generation", name=op.f("pk_key_overlaps")),
        sa.UniqueConstraint("hash", name=op.f("uq_key_overlaps_hash")),
    )
    op.create_index("ix_key_overlaps_ends_ms", "key_overlaps", ["ends_ms"], unique=False)


def downgrade() -> None:
    """Undo."""
    op.drop_table("key_overlaps")
    with op.batch_alter_table("api_keys") as batch:
        for name in (
            "rotation_key",
            "rotated_by",
            "last_used_ms",
            "rotated_ms",
            "networks",
            "scopes",
            "generation",
        ):
            batch.drop_column(name)
    op.drop_index("ix_subscriptions_requested_plan", "subscriptions")
    op.drop_index("ix_subscriptions_plan", "subscriptions")
    with op.batch_alter_table("subscriptions") as batch:
        for name in ("decided_ms", "reason", "requested_plan", "state"):
            batch.drop_column(name)
    with op.batch_alter_table("applications") as batch:
        batch.drop_column("origins")
    op.drop_table("ended_applications")
    op.drop_table("plans")
