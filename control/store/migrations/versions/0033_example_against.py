"""Beside which version an example of a disagreement was answered, so that it can be asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

TABLE = "disagreement_examples"
AGAINST = {
    "sqlite": "json_extract(document, '$.against')",
    "postgresql": "CAST(CAST(document AS json) ->> 'against' AS integer)",
}


def upgrade() -> None:
    """Apply. The documents of present examples say it."""
    op.add_column(TABLE, sa.Column("against", sa.Integer(), nullable=False, server_default="0"))
    said = AGAINST[op.get_bind().dialect.name]
    op.execute(sa.text(f"UPDATE {TABLE} SET against = {said}"))  # noqa: S608 -- constants


def downgrade() -> None:
    """Undo."""
    op.drop_column(TABLE, "against")
