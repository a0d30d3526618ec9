"""Table of gateways. Times are UNIX milliseconds."""

import sqlalchemy as sa

from control.store.tables import NAME
from registry.store.database import metadata

gateways = sa.Table(
    "gateways",
    metadata,
    sa.Column("id", NAME, primary_key=True),
    sa.Column("counters", sa.String(512), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("started_ms", sa.BigInteger, nullable=False),
    sa.Column("first_seen_ms", sa.BigInteger, nullable=False),
    sa.Column("seen_ms", sa.BigInteger, nullable=False),
    sa.Column("remotes", sa.Text, nullable=False, server_default="[]"),
    sa.Column("unverified", sa.Text, nullable=False, server_default="[]"),
    sa.Column("figures", sa.Text, nullable=False, server_default="{}"),
)
"""Gateways that are alive. ``started_ms`` is by the gateway's own clock, ``remotes``
JSON of :class:`protocol.gateways.RemoteReport`, ``unverified`` of
:class:`protocol.gateways.UnverifiedReport`; ``figures`` of
:class:`control.store.gateways.Figures`."""
