"""How versions end, in the versions themselves; those that are ending already began when they were
deprecated."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("versions", sa.Column("deprecation", sa.Text()))
    connection = op.get_bind()
    ending = connection.execute(
        sa.text(
            "SELECT model, number, state FROM versions WHERE state IN ('deprecated', 'retired')"
        )
    ).all()
    for model, number, state in ending:
        steps = connection.execute(
            sa.text(
                "SELECT to_state, at FROM transitions WHERE model = :model AND number = :number"
            ),
            {"model": model, "number": number},
        ).all()
        reached = {to_state: at // 1000 for to_state, at in steps}
        sunset = reached.get("retired") if state == "retired" else None
        document = {
            "since": reached.get("deprecated", sunset or 0),
            "sunset": sunset,
            "successor": None,
            "note": "",
            "brownouts": [],
            "retire_at_sunset": False,
        }
        connection.execute(
            sa.text(
                "UPDATE versions SET deprecation = :text WHERE model = :model AND number = :number"
            ),
            {"text": json.dumps(document), "model": model, "number": number},
        )


def downgrade() -> None:
    """Undo."""
    op.drop_column("versions", "deprecation")
