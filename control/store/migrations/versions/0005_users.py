"""Users, sessions, personal tokens, ownership and grants."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    # ADD COLUMN works on both databases; a rebuilt table would break what refers to it.
    op.add_column(
        "models",
        sa.Column("owner", sa.String(length=255), nullable=False, server_default="admin"),
    )
    op.create_index("ix_models_owner", "models", ["owner"])
    _create_users()
    _create_credentials()
    op.create_table(
        "model_grants",
        sa.Column("model", sa.String(length=63), nullable=False),
        sa.Column("user_name", sa.String(length=63), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_model_grants_model"),
        sa.ForeignKeyConstraint(["user_name"], ["users.name"], name="fk_model_grants_user_name"),
        sa.PrimaryKeyConstraint("model", "user_name", name="pk_model_grants"),
    )
    op.create_index("ix_model_grants_user_name", "model_grants", ["user_name"])
    op.create_table(
        "blob_holders",
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("holder", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name="fk_blob_holders_digest"),
        sa.PrimaryKeyConstraint("digest", "holder", name="pk_blob_holders"),
    )


def _create_users() -> None:
    op.create_table(
        "users",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("consumer", sa.String(length=63), nullable=True),
        sa.Column("password", sa.String(length=255), nullable=True),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("issuer", sa.String(length=63), nullable=True),
        sa.Column("subject", sa.String(length=255), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("deleted_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["consumer"], ["consumers.name"], name="fk_users_consumer"),
        sa.PrimaryKeyConstraint("name", name="pk_users"),
        sa.UniqueConstraint("issuer", "subject", name="uq_users_issuer_subject"),
    )
    op.create_index("ix_users_consumer", "users", ["consumer"])


def _create_credentials() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("user_name", sa.String(length=63), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_name"], ["users.name"], name="fk_sessions_user_name"),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.UniqueConstraint("hash", name="uq_sessions_hash"),
    )
    op.create_index("ix_sessions_user_name", "sessions", ["user_name"])
    op.create_table(
        "user_tokens",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("user_name", sa.String(length=63), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_name"], ["users.name"], name="fk_user_tokens_user_name"),
        sa.PrimaryKeyConstraint("id", name="pk_user_tokens"),
        sa.UniqueConstraint("hash", name="uq_user_tokens_hash"),
    )
    op.create_index("ix_user_tokens_user_name", "user_tokens", ["user_name"])
    op.create_table(
        "oidc_logins",
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("issuer", sa.String(length=63), nullable=False),
        sa.Column("browser", sa.String(length=64), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("state", name="pk_oidc_logins"),
    )
    op.create_index("ix_oidc_logins_expires_ms", "oidc_logins", ["expires_ms"])


def downgrade() -> None:
    """Undo."""
    for table in (
        "blob_holders",
        "model_grants",
        "oidc_logins",
        "user_tokens",
        "sessions",
        "users",
    ):
        op.drop_table(table)
    op.drop_index("ix_models_owner", "models")
    op.drop_column("models", "owner")
