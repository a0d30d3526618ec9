"""What gateways report of remote versions."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("gateways", sa.Column("remotes", sa.Text(), nullable=False, server_default="[]"))


def downgrade() -> None:
    """Undo."""
    op.drop_column("gateways", "remotes")
