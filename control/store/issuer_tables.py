"""Control's table of issuers."""

import sqlalchemy as sa

from control.store.tables import NAME
from registry.store.database import metadata

issuers = sa.Table(
    "issuers",
    metadata,
    sa.Column("name", NAME, primary_key=True),
    sa.Column("issuer_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("terms", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
)
"""``terms``: JSON of an ``IssuerRequest``. ``issuer_hash``: SHA-256 of its ``iss``, of which there
is one issuer, and which may be too long for an index."""
