"""Tables of guarded canaries. Times are UNIX milliseconds."""

import sqlalchemy as sa

from control.store.tables import NAME
from registry.store.database import metadata
from registry.store.tables import SERIAL

canary_runs = sa.Table(
    "canary_runs",
    metadata,
    sa.Column("id", SERIAL, primary_key=True),
    sa.Column("model", NAME, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("stable", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("progress", sa.Text, nullable=False),
    sa.Column("over_p99_us", sa.BigInteger),
    sa.Column("over_limit_us", sa.BigInteger),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("alerting", sa.Boolean, nullable=False),
    sa.Column("began_ms", sa.BigInteger, nullable=False),
    sa.Column("ended_ms", sa.BigInteger),
    sa.Index("ix_canary_runs_model_id", "model", "id"),
    sa.Index("ix_canary_runs_state", "state"),
    sqlite_autoincrement=True,
)
"""One row for each plan that a canary was given. ``stable``: the version beside which it runs.
``plan``: ``registry.canary_plan.CanaryPlan``, ``progress``: ``control.rollouts.progress.Progress``.
``over_p99_us`` and ``over_limit_us``: answers that take longer are counted; null: none is.
``alerting``: whether its alert stands."""

canary_counts = sa.Table(
    "canary_counts",
    metadata,
    sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("variant", sa.String(16), primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("errors", sa.BigInteger, nullable=False),
    sa.Column("timed", sa.BigInteger, nullable=False),
    sa.Column("over_p99", sa.BigInteger, nullable=False),
    sa.Column("over_limit", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Requests of a run by who answered them (``canary``, ``stable``): they grow with the ingestion of
usage, in its transaction."""

canary_decisions = sa.Table(
    "canary_decisions",
    metadata,
    sa.Column("id", SERIAL, primary_key=True),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("model", NAME, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("permille", sa.Integer, nullable=False),
    sa.Column("actor", sa.String(255), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Index("ix_canary_decisions_model_id", "model", "id"),
    sqlite_autoincrement=True,
)
"""What was decided, by whom, and the numbers at that moment (``evidence``: JSON). ``permille``: the
canary's share from then on."""
