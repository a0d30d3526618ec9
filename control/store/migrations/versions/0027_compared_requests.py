"""Sums over compared requests, each of which counts once, however many rows it has."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

TABLE = "disagreement_minutes"
COUNTS = ("labelled_requests", "measured_requests")
SUMS = ("flip_shares", "request_shifts", "request_shift_squares")


def upgrade() -> None:
    """Apply. Of what was compared before nobody knows the requests: guards bet on what comes."""
    for name in COUNTS:
        column = sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        op.add_column(TABLE, column)
    for name in SUMS:
        op.add_column(TABLE, sa.Column(name, sa.Double(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Undo."""
    for name in (*COUNTS, *SUMS):
        op.drop_column(TABLE, name)
