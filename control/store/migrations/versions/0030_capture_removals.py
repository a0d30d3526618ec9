"""Until when payload was removed: what comes later from before is not kept."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

TABLE = "capture_removals"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        TABLE,
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("application", sa.String(length=63), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "application", name=op.f("pk_capture_removals")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table(TABLE)
