"""What prediction ids stand for."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TABLE = "prediction_epochs"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        TABLE,
        sa.Column("process", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("gateway", sa.String(length=63), nullable=False),
        sa.Column("begun_ms", sa.BigInteger(), nullable=False),
        sa.Column("answerer", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("runtime", sa.Text(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("process", "epoch", name=op.f("pk_prediction_epochs")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table(TABLE)
