"""What limits refused, and how gateways and engines are doing."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

TABLE = "usage_refusals"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        TABLE,
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("application", sa.String(length=63), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("plan", sa.String(length=63), nullable=False),
        sa.Column("limit", sa.String(length=16), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "minute", "application", "model", "plan", "limit", name=op.f("pk_usage_refusals")
        ),
    )
    for table in ("workers", "gateways"):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("figures", sa.Text(), nullable=False, server_default="{}"))


def downgrade() -> None:
    """Undo."""
    for table in ("workers", "gateways"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("figures")
    op.drop_table(TABLE)
