"""Requirements of models."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "requirements",
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_requirements_model"),
        sa.PrimaryKeyConstraint("model", "number", name="pk_requirements"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("requirements")
