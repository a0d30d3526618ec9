"""The table of evaluations that control runs. Times are UNIX milliseconds."""

import sqlalchemy as sa

from control.store.tables import NAME
from registry.store.database import metadata
from registry.store.tables import SERIAL

evaluation_runs = sa.Table(
    "evaluation_runs",
    metadata,
    sa.Column("number", SERIAL, primary_key=True),
    sa.Column("id", sa.String(32), nullable=False),
    sa.Column("model", NAME, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("seen_ms", sa.BigInteger, nullable=False),
    sa.Column("cancelled", sa.Boolean, nullable=False),
    sa.Index("ix_evaluation_runs_id", "id", unique=True),
    sa.Index("ix_evaluation_runs_model_version", "model", "version"),
    sqlite_autoincrement=True,
)
"""Evaluations that run, and those that ended lately. ``document``:
:class:`control.evaluations.resources.EvaluationRun`. ``seen_ms``: when the control process that
runs it told of it last. ``cancelled``: somebody has asked that process to end it."""
