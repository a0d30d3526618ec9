"""Until when an epoch was in use: from then on it is kept for as long as usage is."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

TABLE = "prediction_epochs"


def upgrade() -> None:
    """Apply. Those of gateways that run are marked by the first clean-up."""
    zero = sa.Column("used_ms", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column(TABLE, zero)
    op.execute(sa.text(f"UPDATE {TABLE} SET used_ms = begun_ms"))  # noqa: S608 -- a constant
    op.create_index("ix_prediction_epochs_used", TABLE, ["used_ms"])


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_prediction_epochs_used", table_name=TABLE)
    op.drop_column(TABLE, "used_ms")
