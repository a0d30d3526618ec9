"""The SQL of "which version answered when": the audit log's entries, and a minute of usage."""

from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.tables import applications
from control.store.usage_rollups import TIERS, read_marks
from control.store.usage_sources import to_marks
from control.usage_tiers import floor
from protocol.buckets import bucket
from registry.clock import rfc3339
from registry.store.audit import audit
from registry.store.tables import models

_STABLE: Final = "stable"
_MINUTE_MS: Final = 60_000


class Found(NamedTuple):
    """What the database says. ``consumer`` owns the application, or did when it was deleted."""

    consumer: str
    routed: dict[str, Any]
    subscription: dict[str, Any]
    usage: list[dict[str, Any]]


def read_answered(connection: Connection, application: str, model: str, at_ms: int) -> Found | None:
    """What is known; None where there never was such an application, or such a model."""
    consumer = _consumer(connection, application)
    query = sa.select(models.c.name).where(models.c.name == model)
    if consumer is None or connection.execute(query).first() is None:
        return None
    variant, routed, version = _routed(connection, application, model, at_ms)
    subscription = _as_of(connection, "subscription", f"{application}/{model}", at_ms)
    return Found(
        consumer,
        {
            "version": version,
            "variant": variant,
            "since": routed.since,
            "entry": routed.seq,
        },
        {
            "plan": subscription.state.get("plan"),
            "state": subscription.state.get("state"),
            "since": subscription.since,
            "entry": subscription.seq,
        },
        _usage(connection, application, model, at_ms // _MINUTE_MS),
    )


class _State(NamedTuple):
    state: dict[str, Any]
    since: str | None
    seq: int | None


def _routed(
    connection: Connection, application: str, model: str, at_ms: int
) -> tuple[str, _State, int | None]:
    """The variant that calls without a version of their own got, the entry that says so, and the
    version, in the order in which gateways look."""
    pin = _as_of(connection, "pin", f"{application}/{model}", at_ms)
    if pin.state:
        return "pinned", pin, pin.state["version"]
    alias = _as_of(connection, "alias", f"{model}/{_STABLE}", at_ms)
    rollout = _as_of(connection, "rollout", model, at_ms)
    canary = rollout.state.get("canary")
    if alias.state and canary and bucket(model, application) < canary["permille"]:
        return "canary", rollout, canary["version"]
    return _STABLE, alias, alias.state.get("version")


def _as_of(connection: Connection, kind: str, key: str, at_ms: int) -> _State:
    """The resource as the newest entry up to ``at_ms`` left it; empty where it was not there."""
    query = (
        sa.select(audit.c.seq, audit.c.at_ms, audit.c.after)
        .where(audit.c.kind == kind, audit.c.key == key, audit.c.at_ms <= at_ms)
        .order_by(audit.c.seq.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        return _State({}, None, None)
    return _State(_decoded(row.after), rfc3339(row.at_ms), row.seq)


def _consumer(connection: Connection, application: str) -> str | None:
    query = sa.select(applications.c.consumer).where(applications.c.name == application)
    found = connection.execute(query).scalar()
    if found is not None:
        return str(found)
    # Deleted since: the log still knows whose it was.
    table = audit.c
    last = connection.execute(
        sa.select(table.before, table.after)
        .where(table.kind == "application", table.key == application)
        .order_by(table.seq.desc())
        .limit(1)
    ).first()
    if last is None:
        return None
    owner = _decoded(last.after or last.before).get("consumer")
    return None if owner is None else str(owner)


def _usage(
    connection: Connection, application: str, model: str, minute: int
) -> list[dict[str, Any]]:
    # The finest that is kept of that time.
    grain = to_marks(read_marks(connection)).grain_at(minute)
    table = TIERS[grain].c
    names = (table.version, table.variant, table.status)
    query = (
        sa.select(*names, sa.func.sum(table.requests).label("requests"))
        .where(
            table.minute == floor(minute, grain),
            table.application == application,
            table.model == model,
        )
        .group_by(*names)
        .order_by(*names)
    )
    return [{**row._mapping, "requests": int(row.requests)} for row in connection.execute(query)]


def _decoded(text: str | None) -> dict[str, Any]:
    return {} if text is None else msgspec.json.decode(text, type=dict[str, Any])
