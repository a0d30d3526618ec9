"""Canaries and shadows beside the stable version, and why aliases moved."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "rollouts",
        sa.Column("model", sa.String(63), sa.ForeignKey("models.name"), primary_key=True),
        sa.Column("canary", sa.Text()),
        sa.Column("shadows", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "rollout_history",
        sa.Column("id", SERIAL, primary_key=True),
        sa.Column("model", sa.String(63), sa.ForeignKey("models.name"), nullable=False),
        sa.Column("stable", sa.Integer()),
        sa.Column("canary", sa.Text()),
        sa.Column("shadows", sa.Text(), nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_rollout_history_model_id", "rollout_history", ["model", "id"])
    op.add_column(
        "alias_history", sa.Column("reason", sa.Text(), nullable=False, server_default="")
    )
    op.add_column(
        "alias_history",
        sa.Column("rollback", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_column("alias_history", "rollback")
    op.drop_column("alias_history", "reason")
    op.drop_table("rollout_history")
    op.drop_table("rollouts")
