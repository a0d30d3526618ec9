"""Approvals of versions, and seals of their records."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("versions", sa.Column("seal", sa.Text(), nullable=True))
    op.add_column(
        "gateways", sa.Column("unverified", sa.Text(), nullable=False, server_default="[]")
    )
    op.create_table(
        "approvals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.String(length=71), nullable=False),
        sa.Column("evidence", sa.String(length=71), nullable=False),
        sa.Column("requirements", sa.Integer(), nullable=False),
        sa.Column("requirements_digest", sa.String(length=71), nullable=False),
        sa.Column("signer", sa.String(length=16), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "number"],
            ["versions.model", "versions.number"],
            name="fk_approvals_model_number",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_approvals_model_number_id", "approvals", ["model", "number", "id"])


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_approvals_model_number_id", table_name="approvals")
    op.drop_table("approvals")
    op.drop_column("gateways", "unverified")
    op.drop_column("versions", "seal")
