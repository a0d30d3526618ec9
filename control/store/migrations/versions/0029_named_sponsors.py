"""Which grants requirements gave, by naming a sponsor: they end when another is named."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

TABLE = "model_grants"


def upgrade() -> None:
    """Apply. A grant that naming made is of the same moment as the requirements. Those that earlier
    sponsors still have are marked too, and end when requirements change next."""
    named: sa.Column[bool] = sa.Column(
        "named", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column(TABLE, named)
    connection = op.get_bind()
    written = connection.execute(sa.text("SELECT model, created_at, document FROM requirements"))
    for model, created_at, document in written.all():
        sponsor = json.loads(document).get("sponsor")
        if sponsor is not None:
            connection.execute(
                sa.text(
                    "UPDATE model_grants SET named = :yes"
                    " WHERE model = :model AND user_name = :sponsor AND created_ms = :at"
                ),
                {"yes": True, "model": model, "sponsor": sponsor, "at": created_at},
            )


def downgrade() -> None:
    """Undo."""
    op.drop_column(TABLE, "named")
