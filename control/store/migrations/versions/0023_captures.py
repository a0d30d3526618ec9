"""Payloads of predictions, where a model's publisher lets them be captured."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

COLUMNS = {"capture_permille": "0", "capture_days": "30"}


def upgrade() -> None:
    """Apply."""
    for name, default in COLUMNS.items():
        column = sa.Column(name, sa.Integer(), nullable=False, server_default=default)
        op.add_column("models", column)
    op.create_table(
        "captures",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("application", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("variant", sa.String(length=16), nullable=False),
        sa.Column("operation", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("request_header", sa.BigInteger(), nullable=False),
        sa.Column("request_coding", sa.String(length=16), nullable=False),
        sa.Column("answer_header", sa.BigInteger(), nullable=False),
        sa.Column("answer_coding", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_captures")),
    )
    op.create_index("ix_captures_model_at", "captures", ["model", "at_ms", "id"])
    op.create_index("ix_captures_application_at", "captures", ["application", "at_ms"])
    op.create_table(
        "capture_payloads",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["id"], ["captures.id"], name=op.f("fk_capture_payloads_id_captures")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_capture_payloads")),
    )
    op.create_table(
        "capture_totals",
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_capture_totals")),
    )


def downgrade() -> None:
    """Undo."""
    for table in ("capture_totals", "capture_payloads", "captures"):
        op.drop_table(table)
    for name in COLUMNS:
        op.drop_column("models", name)
