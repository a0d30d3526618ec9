"""The registry's tables. Times are UNIX milliseconds; names follow ``protocol.names``."""

import sqlalchemy as sa

from registry.store.database import metadata

NAME = sa.String(63)
DIGEST = sa.String(71)
ACTOR = sa.String(255)
FIRST_OWNER = "admin"
"""Owner of models that were made before models had owners."""
SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""An integer that the database numbers itself; SQLite does that for INTEGER alone."""

models = sa.Table(
    "models",
    metadata,
    sa.Column("name", NAME, primary_key=True),
    sa.Column("title", sa.String(200), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("owner", ACTOR, nullable=False, server_default=FIRST_OWNER, index=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("idle_unload_s", sa.Integer, nullable=False, server_default="0"),
    sa.Column("cold_start_wait_s", sa.Integer, nullable=False, server_default="0"),
    sa.Column("capture_permille", sa.Integer, nullable=False, server_default="0"),
    sa.Column("capture_days", sa.Integer, nullable=False, server_default="30"),
)
"""``owner`` is the name of an actor."""

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("model", NAME, sa.ForeignKey("models.name"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", DIGEST, nullable=False),
    sa.Column("manifest", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("loaded", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", ACTOR, nullable=False),
    sa.Column("idempotency_key", sa.String(255)),
    sa.Column("request_digest", DIGEST),
    sa.Column("deprecation", sa.Text),
    sa.Column("seal", sa.Text),
    sa.UniqueConstraint("model", "created_by", "idempotency_key"),
)
"""The primary key is what makes two publishers' numbers differ. ``digest`` and ``manifest`` are
never updated; ``request_digest`` tells a repeated request from another under the same key.
``deprecation`` is JSON of ``DeprecationDoc``, ``seal`` of :class:`protocol.seals.Seal`; without one
a row is from before there were seals."""

blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("digest", DIGEST, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("marked_at", sa.BigInteger),
    sa.Index("ix_blobs_marked_at", "marked_at"),
)
"""``state``: see ``registry.store.blobs``. ``marked_at`` is when garbage collection first saw it
without a reference."""

version_blobs = sa.Table(
    "version_blobs",
    metadata,
    sa.Column("model", NAME, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("role", sa.String(16), primary_key=True),
    sa.Column("path", sa.String(255), primary_key=True),
    sa.Column("digest", DIGEST, sa.ForeignKey("blobs.digest"), nullable=False),
    sa.ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
    sa.Index("ix_version_blobs_digest", "digest"),
)
"""Which blobs a version needs: role ``artifact``, ``file`` (with its path), ``golden`` or
``background``."""

blob_holders = sa.Table(
    "blob_holders",
    metadata,
    sa.Column("digest", DIGEST, sa.ForeignKey("blobs.digest"), primary_key=True),
    sa.Column("holder", ACTOR, primary_key=True),
)
"""Who has brought the bytes of a blob. Knowing a digest, which manifests show, gives no right to
the bytes behind it; having had them does."""

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("digest", DIGEST, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("created_by", ACTOR, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Index("ix_uploads_expires_at", "expires_at"),
)
"""Uploads under way. How far one has come is the length of its staged file, not a column."""

aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("model", NAME, sa.ForeignKey("models.name"), primary_key=True),
    sa.Column("alias", NAME, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.number"]),
)
"""``revision`` is the id of the newest history row: it never repeats, even after a deletion."""

alias_history = sa.Table(
    "alias_history",
    metadata,
    sa.Column("id", SERIAL, primary_key=True),
    sa.Column("model", NAME, sa.ForeignKey("models.name"), nullable=False),
    sa.Column("alias", NAME, nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("previous", sa.Integer),
    sa.Column("actor", ACTOR, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("rollback", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("ix_alias_history_model_alias_id", "model", "alias", "id"),
    sqlite_autoincrement=True,
)
"""Every move of an alias. ``version`` is null where it was deleted; ``rollback``: it went back to
the version that was there before the present one came."""

transitions = sa.Table(
    "transitions",
    metadata,
    sa.Column("id", SERIAL, primary_key=True),
    sa.Column("model", NAME, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("from_state", sa.String(16)),
    sa.Column("to_state", sa.String(16), nullable=False),
    sa.Column("actor", ACTOR, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("digest", DIGEST, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
    sa.Index("ix_transitions_model_number_id", "model", "number", "id"),
    sqlite_autoincrement=True,
)
"""Who moved a version to which state, when, why, and the digest that this was about."""

evidence = sa.Table(
    "evidence",
    metadata,
    sa.Column("id", SERIAL, primary_key=True),
    sa.Column("model", NAME, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("digest", DIGEST, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", ACTOR, nullable=False),
    sa.ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
    sa.UniqueConstraint("model", "number", "digest"),
    sqlite_autoincrement=True,
)
"""Evaluations of versions. ``document`` is canonical JSON, of which ``digest`` is taken; rows are
never updated."""

requirements = sa.Table(
    "requirements",
    metadata,
    sa.Column("model", NAME, sa.ForeignKey("models.name"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", DIGEST, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", ACTOR, nullable=False),
)
"""Versions of models' requirements. ``document`` is canonical JSON, of which ``digest`` is taken;
rows are never updated, and the highest number holds."""

approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("id", SERIAL, primary_key=True),
    sa.Column("model", NAME, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("actor", ACTOR, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("manifest", DIGEST, nullable=False),
    sa.Column("evidence", DIGEST, nullable=False),
    sa.Column("requirements", sa.Integer, nullable=False),
    sa.Column("requirements_digest", DIGEST, nullable=False),
    sa.Column("signer", sa.String(16), nullable=False),
    sa.Column("signature", sa.String(128), nullable=False),
    sa.ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
    sa.Index("ix_approvals_model_number_id", "model", "number", "id"),
    sqlite_autoincrement=True,
)
"""What sponsors decided of versions, signed: ``registry.approvals``. Rows are never updated, and of
a version's the newest counts."""
