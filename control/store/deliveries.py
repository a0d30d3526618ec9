"""Deliveries: what is due, what became of it, and sending it again."""

import secrets
from collections.abc import Mapping
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.resources import Page, milliseconds, optional_time
from control.store.failures import repeated
from control.store.webhook_events import (
    BATCH,
    entries,
    events_for,
    queue,
    relations,
)
from control.store.webhook_tables import webhook_deliveries, webhooks
from control.store.webhooks import reached
from control.webhooks.events import TEST, body_of
from control.webhooks.resources import (
    Attempt,
    Delivery,
    DeliveryDetail,
    Replay,
    ReplayRequest,
    State,
    Webhook,
)
from protocol.errors import Code, TollwayError
from registry.access import Actor
from registry.clock import Clock, rfc3339
from registry.store import audit
from registry.store.audit import audit as entries_table
from registry.store.database import Database

_table: Final = webhook_deliveries


class Deliveries:
    """Reads deliveries and queues them again. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def get(self, webhook: str, id: str, actor: Actor) -> DeliveryDetail:
        """The delivery with what is sent."""
        with self._database.read() as connection:
            reached(connection, webhook, actor)
            row = _find(connection, webhook, id)
        return DeliveryDetail(**delivery_of(row._mapping).model_dump(), body=row.body)

    def list(
        self,
        webhook: str,
        actor: Actor,
        *,
        limit: int,
        after: str = "",
        state: State | None = None,
        type: str | None = None,
    ) -> Page[Delivery]:
        """Deliveries of the endpoint, newest first."""
        query = sa.select(_table).where(_table.c.webhook == webhook)
        if after:
            query = query.where(_table.c.id < after)
        if state is not None:
            query = query.where(_table.c.state == state)
        if type is not None:
            query = query.where(_table.c.type == type)
        with self._database.read() as connection:
            reached(connection, webhook, actor)
            rows = connection.execute(query.order_by(_table.c.id.desc()).limit(limit + 1))
            items = [delivery_of(row._mapping) for row in rows]
        return Page.of(items, limit, lambda one: one.id)

    def test(self, webhook: str, actor: Actor) -> Delivery:
        """Queue an event that only tells that it is a test."""
        now = self._clock()
        with self._database.write() as connection:
            found = _enabled(connection, webhook, actor)
            event = f"evt_{secrets.token_hex(16)}"
            body = body_of(TEST, now, {"webhook": found.id, "title": found.title})
            id = queue(connection, webhook, event, TEST, body, now)
            audit.record(connection, "webhook.tested", "webhook", webhook, at_ms=now)
            return delivery_of(_find(connection, webhook, id)._mapping)

    def replay(self, webhook: str, id: str, actor: Actor) -> Delivery:
        """Deliver once more, with the same event id: attempts begin anew, now."""
        now = self._clock()
        with self._database.write() as connection:
            _enabled(connection, webhook, actor)
            row = _find(connection, webhook, id)
            _again(connection, str(row.id), now)
            audit.record(
                connection,
                "webhook.replayed",
                "webhook",
                webhook,
                at_ms=now,
                after={"delivery": id, "event": row.event},
            )
            return delivery_of(_find(connection, webhook, id)._mapping)

    @repeated
    def replay_range(self, webhook: str, request: ReplayRequest, actor: Actor) -> Replay:
        """Queue the events of a time again, those that were missed included."""
        start, end = milliseconds(request.start) or 0, milliseconds(request.end) or 0
        if start >= end:
            raise TollwayError(Code.INVALID, "'to' must be later than 'from'")
        now = self._clock()
        log = entries_table.c
        with self._database.write() as connection:
            found = _enabled(connection, webhook, actor)
            # What happened before there was an endpoint was not missed by it.
            since = start if request.include == "all" else max(start, _made_ms(connection, webhook))
            rows = entries(
                connection,
                sa.and_(log.seq > request.after, log.at_ms >= since, log.at_ms < end),
            )
            queued = 0
            for event in events_for(found, rows, relations(connection)):
                present = connection.execute(
                    sa.select(_table.c.id, _table.c.state).where(
                        _table.c.webhook == webhook, _table.c.event == event.id
                    )
                ).first()
                if present is None:
                    queue(connection, webhook, event.id, event.type, event.body, now)
                elif present.state == "failed" or (
                    present.state == "delivered" and request.include == "all"
                ):
                    _again(connection, present.id, now)
                else:
                    continue
                queued += 1
            after = {"from": rfc3339(start), "to": rfc3339(end), "queued": queued}
            audit.record(connection, "webhook.replayed", "webhook", webhook, at_ms=now, after=after)
        return Replay(queued=queued, next=rows[-1].seq if len(rows) == BATCH else None)

    def expire(self, before_ms: int) -> int:
        """Forget deliveries that ended before this time. Returns how many."""
        gone = 0
        old = sa.select(_table.c.id).where(
            _table.c.state != "pending", _table.c.updated_ms < before_ms
        )
        while True:
            with self._database.write() as connection:
                ended = connection.execute(
                    sa.delete(_table).where(_table.c.id.in_(old.limit(BATCH)))
                ).rowcount
            gone += ended
            if ended < BATCH:
                return gone

    def pending(self) -> int:
        """How many deliveries are still to be made."""
        query = sa.select(sa.func.count()).select_from(_table).where(_table.c.state == "pending")
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())


def delivery_of(m: Mapping[str, object] | sa.RowMapping) -> Delivery:
    """The delivery of a row."""
    row = msgspec.convert(m, type=_Row, strict=False)
    return Delivery(
        id=row.id,
        webhook=row.webhook,
        event=row.event,
        type=row.type,
        state=row.state,
        attempts=[Attempt(**one) for one in msgspec.json.decode(row.attempts)],
        next_attempt_at=optional_time(row.next_ms),
        created_at=rfc3339(row.created_ms),
        updated_at=rfc3339(row.updated_ms),
    )


class _Row(msgspec.Struct):
    id: str
    webhook: str
    event: str
    type: str
    state: State
    attempts: str
    next_ms: int | None
    created_ms: int
    updated_ms: int


def _enabled(connection: Connection, webhook: str, actor: Actor) -> Webhook:
    found = reached(connection, webhook, actor, lock=True)
    if not found.enabled:
        raise TollwayError(Code.CONFLICT, f"the webhook {webhook} is disabled: enable it first")
    return found


def _made_ms(connection: Connection, webhook: str) -> int:
    query = sa.select(webhooks.c.created_ms).where(webhooks.c.id == webhook)
    return int(connection.execute(query).scalar_one())


def _find(connection: Connection, webhook: str, id: str) -> sa.Row[tuple[object, ...]]:
    query = sa.select(_table).where(_table.c.webhook == webhook, _table.c.id == id)
    row = connection.execute(query).first()
    if row is None:
        raise TollwayError(Code.NOT_FOUND, f"there is no delivery {id[:80]!r}")
    return row


def _again(connection: Connection, id: str, now: int) -> None:
    connection.execute(
        sa.update(_table)
        .where(_table.c.id == id)
        .values(state="pending", failures=0, next_ms=now, updated_ms=now)
    )
