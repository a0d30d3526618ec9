"""Models that leave the memory when nobody calls them."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

COLUMNS = ("idle_unload_s", "cold_start_wait_s")


def upgrade() -> None:
    """Apply."""
    for name in COLUMNS:
        op.add_column("models", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Undo."""
    for name in COLUMNS:
        op.drop_column("models", name)
