"""Issuers of JSON Web Tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "issuers",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("issuer_hash", sa.String(length=64), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_issuers")),
        sa.UniqueConstraint("issuer_hash", name=op.f("uq_issuers_issuer_hash")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("issuers")
