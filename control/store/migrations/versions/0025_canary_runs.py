"""Guarded canaries: their runs, what is counted for them, and what was decided."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "canary_runs",
        sa.Column("id", SERIAL, primary_key=True),
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("stable", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("over_p99_us", sa.BigInteger()),
        sa.Column("over_limit_us", sa.BigInteger()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("alerting", sa.Boolean(), nullable=False),
        sa.Column("began_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger()),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_canary_runs_model_id", "canary_runs", ["model", "id"])
    op.create_index("ix_canary_runs_state", "canary_runs", ["state"])
    counts = ("requests", "errors", "timed", "over_p99", "over_limit")
    op.create_table(
        "canary_counts",
        sa.Column("run", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("variant", sa.String(16), primary_key=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in counts),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "canary_decisions",
        sa.Column("id", SERIAL, primary_key=True),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("permille", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_canary_decisions_model_id", "canary_decisions", ["model", "id"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("canary_decisions")
    op.drop_table("canary_counts")
    op.drop_table("canary_runs")
