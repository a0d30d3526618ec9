"""Deleted applications by consumer: their usage and statements stay readable."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INDEX = "ix_ended_applications_consumer"


def upgrade() -> None:
    """Apply."""
    op.create_index(INDEX, "ended_applications", ["consumer"])


def downgrade() -> None:
    """Undo."""
    op.drop_index(INDEX, table_name="ended_applications")
