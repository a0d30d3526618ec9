"""Table of epochs: what prediction ids stand for. Times are UNIX milliseconds."""

import sqlalchemy as sa

from control.store.tables import NAME
from registry.store.database import metadata
from registry.store.tables import DIGEST

prediction_epochs = sa.Table(
    "prediction_epochs",
    metadata,
    sa.Column("process", sa.String(16), primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("gateway", NAME, nullable=False),
    sa.Column("begun_ms", sa.BigInteger, nullable=False),
    sa.Column("answerer", sa.String(16), nullable=False),
    sa.Column("model", NAME, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("digest", DIGEST, nullable=False),
    sa.Column("runtime", sa.Text),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("used_ms", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index("ix_prediction_epochs_used", "used_ms"),
)
"""A few rows for each run of a gateway and each change of a model that it serves, kept for as long
as usage is after ``used_ms``, when the last answer may have named one. ``process`` is the run,
``runtime`` JSON of :class:`protocol.receipts.EngineRuntime`; ``model`` is empty where no version
was chosen."""
