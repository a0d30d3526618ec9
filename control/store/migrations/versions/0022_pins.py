"""Versions that applications are pinned to."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

NAME = sa.String(63)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "pins",
        sa.Column("application", NAME, sa.ForeignKey("applications.name"), primary_key=True),
        sa.Column("model", NAME, primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("set_by", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.number"]),
    )
    op.create_index("ix_pins_model_version", "pins", ["model", "version"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("pins")
