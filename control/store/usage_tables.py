"""Tables of usage: roll-ups in three tiers, summaries, charges, statements, thresholds.

A roll-up's ``minute`` is the first minute (UNIX time / 60) of the span that it sums. ``latency`` is
``control.histogram`` of total microseconds.
"""

import sqlalchemy as sa

from control.store.tables import NAME
from registry.store.database import metadata

PLAN = sa.String(63)
AMOUNT = sa.String(32)
CURRENCY = sa.String(3)


def _sums() -> list[sa.Column[int]]:
    names = (
        "requests",
        "rows",
        "errors",
        "queue_us",
        "infer_us",
        "total_us",
        "bytes_in",
        "bytes_out",
    )
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _rollups(name: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("minute", sa.BigInteger, primary_key=True),
        sa.Column("application", NAME, primary_key=True),
        sa.Column("key", sa.String(32), primary_key=True),
        sa.Column("model", NAME, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("variant", sa.String(16), primary_key=True),
        sa.Column("status", sa.Integer, primary_key=True),
        *_sums(),
        sa.Column("latency", sa.LargeBinary, nullable=False),
        # Consumers and publishers ask for their own; without these, every row would be read.
        sa.Index(f"ix_{name}_application_minute", "application", "minute"),
        sa.Index(f"ix_{name}_key_minute", "key", "minute"),
        sa.Index(f"ix_{name}_model_minute", "model", "minute"),
        sqlite_with_rowid=False,
    )


usage_minutes = _rollups("usage_minutes")
"""Every request is here, until retention removes the oldest."""
usage_hours = _rollups("usage_hours")
usage_days = _rollups("usage_days")
"""Hours and days hold the minutes before the mark ``folded``."""

usage_blocks = sa.Table(
    "usage_blocks",
    metadata,
    sa.Column("grain", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("minute", sa.BigInteger, primary_key=True),
    sa.Column("application", NAME, primary_key=True),
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("model", NAME, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("variant", sa.String(16), primary_key=True),
    sa.Column("status", sa.Integer, primary_key=True),
    *_sums(),
    sa.Column("latency", sa.LargeBinary, nullable=False),
    sa.Index("ix_usage_blocks_application_grain_minute", "application", "grain", "minute"),
    sa.Index("ix_usage_blocks_key_grain_minute", "key", "grain", "minute"),
    sa.Index("ix_usage_blocks_model_grain_minute", "model", "grain", "minute"),
    sqlite_with_rowid=False,
)
"""Quarters of days, and several days in one (``control.usage_tiers.BLOCKS``). ``grain``: minutes
in a block. They hold the minutes before ``folded``."""

usage_summaries = sa.Table(
    "usage_summaries",
    metadata,
    sa.Column("cube", sa.String(16), primary_key=True),
    sa.Column("grain", sa.Integer, primary_key=True),
    sa.Column("minute", sa.BigInteger, primary_key=True),
    sa.Column("application", NAME, primary_key=True),
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("model", NAME, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("variant", sa.String(16), primary_key=True),
    sa.Column("status", sa.Integer, primary_key=True),
    *_sums(),
    sa.Column("latency", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""The same sums over fewer dimensions (``control.usage_tiers.CUBES``; the others are empty or 0),
for reports over everybody. ``grain``: minutes in a span. They hold the minutes before ``folded``.
"""

usage_refusals = sa.Table(
    "usage_refusals",
    metadata,
    sa.Column("minute", sa.BigInteger, primary_key=True),
    sa.Column("application", NAME, primary_key=True),
    sa.Column("model", NAME, primary_key=True),
    sa.Column("plan", PLAN, primary_key=True),
    sa.Column("limit", sa.String(16), primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
)
"""Requests that a limit refused, by five minutes (``control.refusals``)."""

usage_marks = sa.Table(
    "usage_marks",
    metadata,
    sa.Column("name", sa.String(16), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
"""``folded``, ``minutes``, ``hours``, ``days``: a minute; ``closed``: a month (year * 100 + month).
A mark that is not there is 0."""

usage_charges = sa.Table(
    "usage_charges",
    metadata,
    sa.Column("application", NAME, primary_key=True),
    sa.Column("model", NAME, primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("plan", PLAN, primary_key=True),
    sa.Column("price", AMOUNT, primary_key=True),
    sa.Column("currency", CURRENCY, primary_key=True),
    sa.Column("month", sa.Integer, primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("failed", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("infer_us", sa.BigInteger, nullable=False),
    sa.Index("ix_usage_charges_month_application", "month", "application"),
    sqlite_with_rowid=False,
)
"""What a subscription used on a UTC day (UNIX time / 86400), under the plan and the price per
thousand of that minute (empty: free of charge). ``month`` is that of the statement it stands on."""

usage_statements = sa.Table(
    "usage_statements",
    metadata,
    sa.Column("application", NAME, primary_key=True),
    sa.Column("month", sa.Integer, primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("closed_ms", sa.BigInteger, nullable=False),
)
"""Statements of closed months, as they were issued."""

usage_thresholds = sa.Table(
    "usage_thresholds",
    metadata,
    sa.Column("application", NAME, primary_key=True),
    sa.Column("model", NAME, primary_key=True),
    sa.Column("period", sa.String(10), primary_key=True),
    sa.Column("unit", sa.String(16), primary_key=True),
    sa.Column("limit", sa.BigInteger, primary_key=True),
    sa.Column("percent", sa.Integer, primary_key=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)
"""Shares of a quota that were reached in a period, and told of."""
