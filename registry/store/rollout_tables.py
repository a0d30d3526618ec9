"""The tables of rollouts. Times are UNIX milliseconds."""

import sqlalchemy as sa

from registry.store.database import metadata
from registry.store.tables import ACTOR, NAME, SERIAL

rollouts = sa.Table(
    "rollouts",
    metadata,
    sa.Column("model", NAME, sa.ForeignKey("models.name"), primary_key=True),
    sa.Column("canary", sa.Text),
    sa.Column("shadows", sa.Text, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)
"""What answers beside the stable version, which is the alias of that name. ``canary``: JSON of a
:class:`registry.store.rollouts.CanaryRecord`, ``shadows`` of a list of ``ShadowDoc``. ``revision``
is the id of the newest history row. No row: neither was ever set, nor has stable moved since."""

rollout_history = sa.Table(
    "rollout_history",
    metadata,
    sa.Column("id", SERIAL, primary_key=True),
    sa.Column("model", NAME, sa.ForeignKey("models.name"), nullable=False),
    sa.Column("stable", sa.Integer),
    sa.Column("canary", sa.Text),
    sa.Column("shadows", sa.Text, nullable=False),
    sa.Column("cause", sa.String(16), nullable=False),
    sa.Column("actor", ACTOR, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Index("ix_rollout_history_model_id", "model", "id"),
    sqlite_autoincrement=True,
)
"""The rollout as each change left it. ``cause``: see :data:`registry.store.rollouts.Cause`."""
