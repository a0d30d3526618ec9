"""Tables of users, their sessions and tokens, and grants. Times are UNIX milliseconds."""

import sqlalchemy as sa

from control.store.tables import NAME
from registry.store.database import metadata

users = sa.Table(
    "users",
    metadata,
    sa.Column("name", NAME, primary_key=True),
    sa.Column("title", sa.String(200), nullable=False),
    sa.Column("email", sa.String(254)),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("consumer", NAME, sa.ForeignKey("consumers.name"), index=True),
    sa.Column("password", sa.String(255)),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("issuer", NAME),
    sa.Column("subject", sa.String(255)),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.Column("deleted_ms", sa.BigInteger),
    sa.UniqueConstraint("issuer", "subject"),
)
"""``password`` is an argon2id hash, null for who cannot log in with one. ``issuer`` and ``subject``
say who logs in through an identity provider. A deleted user's row stays, without personal data:
histories name it, so its name is never given to another."""

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("user_name", NAME, sa.ForeignKey("users.name"), nullable=False, index=True),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("agent", sa.String(200), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("seen_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_ms", sa.BigInteger, nullable=False),
)
"""``hash`` is the HMAC of the secret. ``seen_ms`` is coarse: no write for every request."""

user_tokens = sa.Table(
    "user_tokens",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("prefix", sa.String(16), nullable=False),
    sa.Column("user_name", NAME, sa.ForeignKey("users.name"), nullable=False, index=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("label", sa.String(200), nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("expires_ms", sa.BigInteger),
    sa.Column("revoked_ms", sa.BigInteger),
)
"""Personal tokens. ``role`` is the user's own or a narrower one."""

grants = sa.Table(
    "model_grants",
    metadata,
    sa.Column("model", NAME, sa.ForeignKey("models.name"), primary_key=True),
    sa.Column("user_name", NAME, sa.ForeignKey("users.name"), primary_key=True, index=True),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(255), nullable=False),
    sa.Column("named", sa.Boolean, nullable=False, server_default=sa.false()),
)
"""Who besides its owner manages a model. ``named``: because its requirements name them their
sponsor, for as long as they do."""

oidc_logins = sa.Table(
    "oidc_logins",
    metadata,
    sa.Column("state", sa.String(64), primary_key=True),
    sa.Column("issuer", NAME, nullable=False),
    sa.Column("browser", sa.String(64), nullable=False),
    sa.Column("expires_ms", sa.BigInteger, nullable=False, index=True),
)
"""Logins that are at an identity provider now: hashes of their state and of the browser's cookie.
A row is used once."""
