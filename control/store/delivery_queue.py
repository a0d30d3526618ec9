"""The queue behind the dispatcher: taking what is due, and writing down how it went."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.webhook_tables import webhook_deliveries, webhooks
from control.store.webhooks import abandon, webhook_of
from control.webhooks.sender import Outcome
from registry.clock import Clock, rfc3339
from registry.store import audit
from registry.store.database import Database

KEPT_ATTEMPTS: Final = 20
_ENDPOINTS: Final = 100
"""Endpoints that one look takes deliveries of; the next look takes the others'."""
_table: Final = webhook_deliveries


class Due(NamedTuple):
    """A delivery that this process has taken for the length of its lease."""

    id: str
    webhook: str
    event: str
    body: str
    failures: int
    url: str
    generations: tuple[int, ...]
    """Generations of the secret to sign with, the present one first."""


class DeliveryQueue:
    """Thread-safe; calls block. Several processes may work on one queue."""

    def __init__(self, database: Database, clock: Clock, disable_after_ms: int) -> None:
        """``disable_after_ms``: how long an endpoint may take nothing before it is disabled."""
        self._database = database
        self._clock = clock
        self._disable_after_ms = disable_after_ms

    def take(
        self, limit: int, busy: Mapping[str, int], per_endpoint: int, lease_ms: int
    ) -> list[Due]:
        """At most ``limit`` deliveries that are due, oldest first.

        An endpoint has at most ``per_endpoint`` under way, ``busy`` included, so that one that
        hangs leaves room for others. What is not finished within the lease is due again: a crash
        loses nothing, but may send twice.
        """
        now = self._clock()
        with self._database.read() as connection:
            chosen = _candidates(connection, now, limit, busy, per_endpoint)
        if not chosen:
            return []
        with self._database.write() as connection:
            # The condition again: another process may have been faster. What one holds at this
            # moment is left to it, and rows are locked in one order: nobody waits for anybody.
            free = (
                sa.select(_table.c.id)
                .where(_table.c.id.in_(chosen), *_due_at(now))
                .order_by(_table.c.id)
                .with_for_update(skip_locked=True)
            )
            taken = list(connection.execute(free).scalars())
            connection.execute(
                sa.update(_table).where(_table.c.id.in_(taken)).values(next_ms=now + lease_ms)
            )
            query = (
                sa.select(_table, webhooks.c.url, webhooks.c.generation)
                .add_columns(webhooks.c.previous_until_ms)
                .join(webhooks, webhooks.c.id == _table.c.webhook)
                .where(_table.c.id.in_(taken))
                .order_by(_table.c.created_ms, _table.c.id)
            )
            return [_due(row, now) for row in connection.execute(query)]

    def finish(self, due: Due, outcome: Outcome, wait_s: float | None) -> str:
        """Write down an attempt. After a failure it is due again in ``wait_s``; None: it failed.

        Returns the state: ``delivered``, ``pending`` or ``failed``. An endpoint that has taken
        nothing for too long, or says that it is gone, is disabled.
        """
        now = self._clock()
        with self._database.write() as connection:
            endpoint = connection.execute(
                sa.select(webhooks)
                .where(webhooks.c.id == due.webhook)
                .with_for_update(key_share=True)
            ).first()
            row = connection.execute(
                sa.select(_table.c.attempts, _table.c.failures, _table.c.state).where(
                    _table.c.id == due.id
                )
            ).first()
            if endpoint is None or row is None:
                return "failed"  # deleted meanwhile
            attempt = {
                "at": rfc3339(now - outcome.duration_ms),
                "status": outcome.status,
                "error": outcome.error,
                "duration_ms": outcome.duration_ms,
            }
            attempts = [*msgspec.json.decode(row.attempts), attempt][-KEPT_ATTEMPTS:]
            if outcome.delivered:
                state, wait_s = "delivered", None
            elif row.state != "pending":
                # Its lease was over, and another process has delivered or ended it meanwhile.
                state, wait_s = row.state, None
            elif wait_s is None or not endpoint.enabled:
                state, wait_s = "failed", None
            else:
                state = "pending"
            connection.execute(
                sa.update(_table)
                .where(_table.c.id == due.id)
                .values(
                    state=state,
                    failures=row.failures + (not outcome.delivered),
                    attempts=msgspec.json.encode(attempts).decode(),
                    next_ms=None if wait_s is None else now + round(wait_s * 1000),
                    updated_ms=now,
                )
            )
            return self._judge(connection, endpoint, outcome, now) or state

    def _judge(
        self,
        connection: Connection,
        endpoint: sa.Row[tuple[object, ...]],
        outcome: Outcome,
        now: int,
    ) -> str | None:
        """Note whether the endpoint works; ``failed`` when it is disabled for it."""
        this = webhooks.c.id == endpoint.id
        since = endpoint.failing_since_ms
        if outcome.delivered:
            if since is not None:
                connection.execute(sa.update(webhooks).where(this).values(failing_since_ms=None))
            return None
        if since is None:
            since = now
            connection.execute(sa.update(webhooks).where(this).values(failing_since_ms=now))
        if outcome.gone:
            reason = "the receiver answered 410 Gone"
        elif now - int(since) >= self._disable_after_ms:
            reason = f"no delivery was taken since {rfc3339(int(since))}"
        else:
            return None
        if endpoint.enabled:
            before = webhook_of(endpoint._mapping)
            connection.execute(
                sa.update(webhooks)
                .where(this)
                .values(enabled=False, disabled_reason=reason, updated_ms=now)
            )
            abandon(connection, before.id, now)
            row = connection.execute(sa.select(webhooks).where(this)).one()
            audit.record(
                connection,
                "webhook.disabled",
                "webhook",
                before.id,
                at_ms=now,
                before=before,
                after=webhook_of(row._mapping),
                reason=reason,
            )
        return "failed"


def _due_at(now: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (_table.c.state == "pending", _table.c.next_ms <= now)


def _candidates(
    connection: Connection, now: int, limit: int, busy: Mapping[str, int], per_endpoint: int
) -> list[str]:
    """The oldest that are due. Each step is a seek in the index of an endpoint's pending ones: what
    waits behind those is not read, however much it is."""
    full = [webhook for webhook, count in busy.items() if count >= per_endpoint]
    oldest = (
        sa.select(sa.func.min(_table.c.next_ms))
        .where(_table.c.webhook == webhooks.c.id, _table.c.state == "pending")
        .scalar_subquery()
    )
    waiting = (
        sa.select(webhooks.c.id, oldest.label("oldest"))
        .where(webhooks.c.enabled, webhooks.c.id.not_in(full))
        .subquery()
    )
    # No other endpoint has one among the `limit` oldest of all.
    endpoints = (
        sa.select(waiting.c.id)
        .where(waiting.c.oldest <= now)
        .order_by(waiting.c.oldest)
        .limit(min(limit, _ENDPOINTS))
    )
    portions = [
        sa.select(
            sa.select(_table.c.id, _table.c.next_ms)
            .where(_table.c.webhook == webhook, *_due_at(now))
            .order_by(_table.c.next_ms)
            .limit(per_endpoint - busy.get(webhook, 0))
            .subquery()
        )
        for webhook in connection.execute(endpoints).scalars()
    ]
    if not portions:
        return []
    due = sa.union_all(*portions).subquery()
    query = sa.select(due.c.id).order_by(due.c.next_ms).limit(limit)
    return list(connection.execute(query).scalars())


def _due(row: sa.Row[tuple[object, ...]], now: int) -> Due:
    m = row._mapping
    present: int = m["generation"]
    overlaps = (m["previous_until_ms"] or 0) > now and present > 1
    return Due(
        id=m["id"],
        webhook=m["webhook"],
        event=m["event"],
        body=m["body"],
        failures=m["failures"],
        url=m["url"],
        generations=(present, present - 1) if overlaps else (present,),
    )
