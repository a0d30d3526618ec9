"""Tables of what shadows were found to answer otherwise. ``version`` is the shadow, ``against`` the
version that answered."""

import sqlalchemy as sa

from control.store.tables import NAME
from registry.store.database import metadata
from registry.store.tables import SERIAL

disagreements = sa.Table(
    "disagreements",
    metadata,
    sa.Column("model", NAME, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("against", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("application", NAME, primary_key=True),
    sa.Column("segment", NAME, primary_key=True),
    sa.Column("tally", sa.LargeBinary, nullable=False),
    sa.Index("ix_disagreements_hour", "hour"),
    sqlite_with_rowid=False,
)
"""By hour (UNIX time / 3600). ``tally`` is MessagePack of :class:`protocol.shadowing.Tally`."""

disagreement_minutes = sa.Table(
    "disagreement_minutes",
    metadata,
    sa.Column("model", NAME, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("against", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("minute", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("failed", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("labelled", sa.BigInteger, nullable=False),
    sa.Column("flips", sa.BigInteger, nullable=False),
    sa.Column("measured", sa.BigInteger, nullable=False),
    sa.Column("missing", sa.BigInteger, nullable=False),
    sa.Column("shift", sa.Double, nullable=False),
    sa.Column("shift_squares", sa.Double, nullable=False),
    sa.Column("largest", sa.Double, nullable=False),
    sa.Column("labelled_requests", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("flip_shares", sa.Double, nullable=False, server_default="0"),
    sa.Column("measured_requests", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("request_shifts", sa.Double, nullable=False, server_default="0"),
    sa.Column("request_shift_squares", sa.Double, nullable=False, server_default="0"),
    sa.Index("ix_disagreement_minutes_minute", "minute"),
    sqlite_with_rowid=False,
)
"""The sums of all applications by minute (UNIX time / 60), for decisions that begin at a moment."""

disagreement_examples = sa.Table(
    "disagreement_examples",
    metadata,
    sa.Column("id", SERIAL, primary_key=True),
    sa.Column("model", NAME, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("hour", sa.Integer, nullable=False),
    sa.Column("flipped", sa.Boolean, nullable=False),
    sa.Column("difference", sa.Double, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("application", NAME, nullable=False),
    sa.Column("against", sa.Integer, nullable=False, server_default="0"),
    sa.Index("ix_disagreement_examples_model_version_hour", "model", "version", "hour"),
    sa.Index("ix_disagreement_examples_hour", "hour"),
)
"""The rows that differ most, of each hour a few. ``document``: :class:`protocol.shadowing.Example`.
"""

disagreement_sources = sa.Table(
    "disagreement_sources",
    metadata,
    sa.Column("instance", sa.String(64), primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("hour", sa.Integer, nullable=False),
)
"""The last summary that was taken of each process of an engine or a gateway, and when."""

mirrored_hours = sa.Table(
    "mirrored_hours",
    metadata,
    sa.Column("model", NAME, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("outcome", sa.String(16), primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Index("ix_mirrored_hours_hour", "hour"),
    sqlite_with_rowid=False,
)
"""Requests that gateways were to mirror to a shadow, by hour (UNIX time / 3600). ``outcome``:
``compared``, or the reason for which they were shed (:data:`protocol.shadowing.Shed`)."""
