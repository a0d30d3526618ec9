"""What shadow versions would have answered otherwise."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

NAME = sa.String(length=63)
COUNTS = ("requests", "failed", "rows", "labelled", "flips", "measured", "missing")
SUMS = ("shift", "shift_squares", "largest")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "disagreements",
        sa.Column("model", NAME, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("against", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("application", NAME, nullable=False),
        sa.Column("segment", NAME, nullable=False),
        sa.Column("tally", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "model", "version", "hour", "against", "application", "segment", name="pk_disagreements"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_disagreements_hour", "disagreements", ["hour"])
    op.create_table(
        "disagreement_minutes",
        sa.Column("model", NAME, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("against", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("minute", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        *(sa.Column(name, sa.Double(), nullable=False) for name in SUMS),
        sa.PrimaryKeyConstraint(
            "model", "version", "against", "minute", name="pk_disagreement_minutes"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_disagreement_minutes_minute", "disagreement_minutes", ["minute"])
    op.create_table(
        "disagreement_examples",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model", NAME, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("flipped", sa.Boolean(), nullable=False),
        sa.Column("difference", sa.Double(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_disagreement_examples"),
    )
    op.create_index(
        "ix_disagreement_examples_model_version_hour",
        "disagreement_examples",
        ["model", "version", "hour"],
    )
    op.create_index("ix_disagreement_examples_hour", "disagreement_examples", ["hour"])
    op.create_table(
        "disagreement_sources",
        sa.Column("instance", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("instance", name="pk_disagreement_sources"),
    )


def downgrade() -> None:
    """Undo."""
    for table in ("sources", "examples", "minutes"):
        op.drop_table(f"disagreement_{table}")
    op.drop_table("disagreements")
