"""Whose request an example of a disagreement is of: it goes where the application's captures go."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

TABLE = "disagreement_examples"


def upgrade() -> None:
    """Apply. Nothing tells whose the present ones are: they go."""
    op.execute(sa.text(f"DELETE FROM {TABLE}"))  # noqa: S608 -- a constant
    op.add_column(TABLE, sa.Column("application", sa.String(length=63), nullable=False))


def downgrade() -> None:
    """Undo."""
    op.drop_column(TABLE, "application")
