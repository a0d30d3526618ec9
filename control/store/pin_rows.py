"""Rows of pins: how they are read, published and removed, and the versions that they hold."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.pins import Pin
from control.store.tables import NAME
from protocol.configuration import PinDoc
from registry.clock import rfc3339
from registry.store import audit, changes
from registry.store.database import metadata

pins = sa.Table(
    "pins",
    metadata,
    sa.Column("application", NAME, sa.ForeignKey("applications.name"), primary_key=True),
    sa.Column("model", NAME, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("set_by", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["model", "version"], ["versions.model", "versions.number"]),
    sa.Index("ix_pins_model_version", "model", "version"),
)
"""Whoever writes one holds its subscription's row, and to set it the model's."""


def is_pin(application: str, model: str) -> sa.ColumnElement[bool]:
    """The condition that a row is this pin."""
    return sa.and_(pins.c.application == application, pins.c.model == model)


def find_pin(connection: Connection, application: str, model: str) -> Pin | None:
    """The pin, or None."""
    row = connection.execute(sa.select(pins).where(is_pin(application, model))).first()
    return None if row is None else pin_of(row)


def publish_pin(connection: Connection, pin: Pin) -> None:
    """Put the pin's document on the stream."""
    document = PinDoc(application=pin.application, model=pin.model, version=pin.version)
    changes.append(connection, "pin", pin_key(pin.application, pin.model), document)


def end_pin(
    connection: Connection, application: str, model: str, now: int, reason: str = ""
) -> Pin | None:
    """Remove a pin, if there is one. The caller holds the subscription's row."""
    found = find_pin(connection, application, model)
    if found is None:
        return None
    key = pin_key(application, model)
    connection.execute(sa.delete(pins).where(is_pin(application, model)))
    changes.append(connection, "pin", key, None)
    audit.record(connection, "pin.deleted", "pin", key, at_ms=now, before=found, reason=reason)
    return found


def pinned_by(connection: Connection, model: str, version: int) -> list[str]:
    """What of applications holds a version, in words: the registry's ``held_by``."""
    query = sa.select(pins.c.application).where(pins.c.model == model, pins.c.version == version)
    names = connection.execute(query.order_by(pins.c.application)).scalars()
    return [f"the pin of application {name!r}" for name in names]


def pin_key(application: str, model: str) -> str:
    """A pin's key on the stream and in the audit log."""
    return f"{application}/{model}"


def pin_of(row: sa.Row[tuple[object, ...]]) -> Pin:
    """The row as the API shows it."""
    m = row._mapping
    return Pin(
        application=m["application"],
        model=m["model"],
        version=m["version"],
        set_by=m["set_by"],
        reason=m["reason"],
        created_at=rfc3339(m["created_ms"]),
        updated_at=rfc3339(m["updated_ms"]),
    )
