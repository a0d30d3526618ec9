"""Control's tables. Times are UNIX milliseconds; names are primary keys where a thing has one."""

import sqlalchemy as sa

from registry.store.database import metadata

NAME = sa.String(63)

consumers = sa.Table(
    "consumers",
    metadata,
    sa.Column("name", NAME, primary_key=True),
    sa.Column("title", sa.String(200), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
)

applications = sa.Table(
    "applications",
    metadata,
    sa.Column("name", NAME, primary_key=True),
    sa.Column("consumer", NAME, sa.ForeignKey("consumers.name"), nullable=False, index=True),
    sa.Column("title", sa.String(200), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
)

subscriptions = sa.Table(
    "subscriptions",
    metadata,
    sa.Column("application", NAME, sa.ForeignKey("applications.name"), primary_key=True),
    sa.Column("model", NAME, primary_key=True, index=True),
    sa.Column("plan", NAME, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("prefix", sa.String(16), nullable=False),
    sa.Column("application", NAME, sa.ForeignKey("applications.name"), nullable=False, index=True),
    sa.Column("label", sa.String(200), nullable=False),
    sa.Column("environment", sa.String(8), nullable=False),
    sa.Column("models", sa.Text),
    sa.Column("expires_ms", sa.BigInteger),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("revoked_ms", sa.BigInteger),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("idempotency_key", sa.String(255)),
    sa.UniqueConstraint("created_by", "idempotency_key"),
)
"""``hash`` is the HMAC of the secret, which itself is nowhere; ``models`` a JSON list or null."""

management_tokens = sa.Table(
    "management_tokens",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_ms", sa.BigInteger),
)
"""Bearer tokens of the management API. Only hashes."""

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", NAME, primary_key=True),
    sa.Column("doc", sa.Text, nullable=False),
    sa.Column("first_seen_ms", sa.BigInteger, nullable=False),
    sa.Column("seen_ms", sa.BigInteger, nullable=False),
)
"""Workers that are alive, with the engines they reported last (``doc``: a WorkerDoc)."""

usage_offsets = sa.Table(
    "usage_offsets",
    metadata,
    sa.Column("gateway", NAME, primary_key=True),
    sa.Column("segment", sa.String(128), primary_key=True),
    sa.Column("next", sa.BigInteger, nullable=False),
    sa.Column("records", sa.BigInteger, nullable=False),
    sa.Column("damaged", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
)
"""How far each segment of each gateway's usage log has been taken in."""

usage_minutes = sa.Table(
    "usage_minutes",
    metadata,
    sa.Column("minute", sa.BigInteger, primary_key=True),
    sa.Column("application", NAME, primary_key=True),
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("model", NAME, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("variant", sa.String(16), primary_key=True),
    sa.Column("status", sa.Integer, primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("errors", sa.BigInteger, nullable=False),
    sa.Column("queue_us", sa.BigInteger, nullable=False),
    sa.Column("infer_us", sa.BigInteger, nullable=False),
    sa.Column("total_us", sa.BigInteger, nullable=False),
    sa.Column("bytes_in", sa.BigInteger, nullable=False),
    sa.Column("bytes_out", sa.BigInteger, nullable=False),
    sa.Column("latency", sa.LargeBinary, nullable=False),
)
"""Usage by minute (UNIX time / 60). ``latency``: ``control.histogram`` of total microseconds."""
