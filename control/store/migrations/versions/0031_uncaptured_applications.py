"""Applications say whether payloads of their calls may be kept."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "applications",
        sa.Column("capture", sa.Boolean(), server_default=sa.true(), nullable=False),
    )


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("applications") as batch:
        batch.drop_column("capture")
