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
    sa.Column("origins", sa.Text, nullable=False, server_default="[]"),
    sa.Column("capture", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
)
"""``origins``: a JSON list."""

subscriptions = sa.Table(
    "subscriptions",
    metadata,
    sa.Column("application", NAME, sa.ForeignKey("applications.name"), primary_key=True),
    sa.Column("model", NAME, primary_key=True, index=True),
    sa.Column("plan", NAME, nullable=False, index=True),
    sa.Column("state", sa.String(16), nullable=False, server_default="active"),
    sa.Column("requested_plan", NAME, index=True),
    sa.Column("reason", sa.Text),
    sa.Column("decided_ms", sa.BigInteger),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
)
"""``reason`` and ``decided_ms`` are of the last approval or refusal."""

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("prefix", sa.String(16), nullable=False),
    sa.Column("application", NAME, sa.ForeignKey("applications.name"), nullable=False, index=True),
    sa.Column("label", sa.String(200), nullable=False),
    sa.Column("environment", sa.String(8), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False, server_default="1"),
    sa.Column("models", sa.Text),
    sa.Column("scopes", sa.Text),
    sa.Column("networks", sa.Text, nullable=False, server_default="[]"),
    sa.Column("expires_ms", sa.BigInteger),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("rotated_ms", sa.BigInteger),
    sa.Column("revoked_ms", sa.BigInteger),
    sa.Column("last_used_ms", sa.BigInteger),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("idempotency_key", sa.String(255)),
    sa.Column("rotated_by", sa.String(255)),
    sa.Column("rotation_key", sa.String(255)),
    sa.UniqueConstraint("created_by", "idempotency_key"),
)
"""``hash`` is the HMAC of the present secret, which itself is nowhere; ``models``, ``scopes`` and
``networks`` are JSON lists. ``rotation_key`` is the Idempotency-Key of the last rotation."""

key_overlaps = sa.Table(
    "key_overlaps",
    metadata,
    sa.Column("key", sa.String(32), sa.ForeignKey("api_keys.id"), primary_key=True),
    sa.Column("generation", sa.Integer, primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("prefix", sa.String(16), nullable=False),
    sa.Column("ends_ms", sa.BigInteger, nullable=False, index=True),
)
"""Earlier secrets of rotated keys, for as long as they still work."""

plans = sa.Table(
    "plans",
    metadata,
    sa.Column("name", NAME, primary_key=True),
    sa.Column("terms", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
)
"""``terms``: JSON of a ``control.plans.PlanRequest``."""

ended_applications = sa.Table(
    "ended_applications",
    metadata,
    sa.Column("name", NAME, primary_key=True),
    sa.Column("consumer", NAME, nullable=False, index=True),
    sa.Column("ended_ms", sa.BigInteger, nullable=False),
)
"""Whose a deleted application was: its usage and statements stay theirs, and nobody else's."""

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
    sa.Column("figures", sa.Text, nullable=False, server_default="{}"),
)
"""Workers that are alive, with the engines they reported last (``doc``: a WorkerDoc) and how these
are doing (``figures``: WorkerFigures, or ``{}``)."""

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
