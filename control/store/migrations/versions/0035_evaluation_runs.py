"""Evaluations that control runs, for every control process to see."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

TABLE = "evaluation_runs"


def upgrade() -> None:
    """Apply."""
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        TABLE,
        sa.Column("number", serial, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_evaluation_runs")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_evaluation_runs_id", TABLE, ["id"], unique=True)
    op.create_index("ix_evaluation_runs_model_version", TABLE, ["model", "version"])


def downgrade() -> None:
    """Undo."""
    op.drop_table(TABLE)
