"""Tables of captured payloads. Times are UNIX milliseconds."""

import sqlalchemy as sa

from control.store.tables import NAME
from registry.store.database import metadata

captures = sa.Table(
    "captures",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("model", NAME, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.Integer, nullable=False),
    sa.Column("application", NAME, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("variant", sa.String(16), nullable=False),
    sa.Column("operation", sa.Integer, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("shared", sa.Boolean, nullable=False),
    sa.Column("request_header", sa.BigInteger, nullable=False),
    sa.Column("request_coding", sa.String(16), nullable=False),
    sa.Column("answer_header", sa.BigInteger, nullable=False),
    sa.Column("answer_coding", sa.String(16), nullable=False),
    sa.Index("ix_captures_model_at", "model", "at_ms", "id"),
    sa.Index("ix_captures_application_at", "application", "at_ms"),
)
"""What is known of captured predictions without their payload. ``bytes`` of it; ``request_header``
and ``answer_header`` as in frames; ``id`` is the prediction's."""

capture_payloads = sa.Table(
    "capture_payloads",
    metadata,
    sa.Column("id", sa.String(64), sa.ForeignKey("captures.id"), primary_key=True),
    sa.Column("request", sa.LargeBinary, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
)
"""The payloads, apart: a list reads none."""

capture_totals = sa.Table(
    "capture_totals",
    metadata,
    sa.Column("model", NAME, primary_key=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
)
"""Bytes of payload that a model has; its lock orders those who write its captures."""

capture_removals = sa.Table(
    "capture_removals",
    metadata,
    sa.Column("model", NAME, primary_key=True),
    sa.Column("application", NAME, primary_key=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
)
"""When payload was removed last. ``application``: whose, as in captures, or ``*``."""
