"""What gateways have mirrored to shadows, and what they have shed."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

TABLE = "mirrored_hours"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        TABLE,
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "model", "version", "hour", "outcome", name=op.f("pk_mirrored_hours")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_mirrored_hours_hour", TABLE, ["hour"])


def downgrade() -> None:
    """Undo."""
    op.drop_table(TABLE)
