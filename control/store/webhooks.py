"""Webhook endpoints: where deliveries go, and what each endpoint hears of."""

import secrets
from collections.abc import Mapping

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.preconditions import NO_PRECONDITION, Precondition, check_idempotency_key
from control.reach import reach_of
from control.resources import Page, optional_time
from control.store.directory import find_consumer
from control.store.failures import repeated
from control.store.webhook_tables import webhook_deliveries, webhooks
from control.webhooks.audience import claim, reaches
from control.webhooks.events import check_patterns
from control.webhooks.resources import Scope, Webhook, WebhookChange, WebhookRequest
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.access import Actor
from registry.clock import Clock, rfc3339
from registry.store import audit
from registry.store.database import Database
from registry.store.tables import models

MAX_PER_OWNER = 50
"""Endpoints that one user, or one consumer, may have: each event is held against every one."""
_ID_BYTES = 10


class Endpoints:
    """Reads and writes endpoints. Thread-safe; calls block.

    What the actor does not reach does not exist for them: ``NOT_FOUND``.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @repeated
    def create(
        self, request: WebhookRequest, actor: Actor, idempotency_key: str | None = None
    ) -> Webhook:
        """Make an endpoint. It hears of what happens from now on."""
        claimed = claim(actor, request.consumer, request.models)
        check_idempotency_key(idempotency_key)
        now = self._clock()
        row: dict[str, object] = {
            "id": f"whk-{secrets.token_hex(_ID_BYTES)}",
            "url": request.url,
            "events": _json(check_patterns(request.events)),
            "title": request.title,
            "scope": claimed.scope,
            "consumer": claimed.consumer,
            "models": None if claimed.models is None else _json(claimed.models),
            "owner": actor.name,
            "enabled": request.enabled,
            "disabled_reason": "",
            "generation": 1,
            "previous_until_ms": None,
            "failing_since_ms": None,
            "created_ms": now,
            "updated_ms": now,
            "idempotency_key": idempotency_key,
        }
        made = webhook_of(row)
        with self._database.write() as connection:
            _refuse_repetition(connection, actor, idempotency_key)
            _require(connection, claimed.consumer, claimed.models)
            _refuse_too_many(connection, actor, claimed.consumer)
            seq = audit.record(
                connection, "webhook.created", "webhook", made.id, at_ms=now, after=made
            )
            connection.execute(sa.insert(webhooks).values(**row, since=seq))
        return made

    def get(self, id: str, actor: Actor) -> Webhook:
        """The endpoint of this id."""
        with self._database.read() as connection:
            return reached(connection, id, actor)

    def list(self, limit: int, after: str, actor: Actor) -> Page[Webhook]:
        """Endpoints by id, as far as the actor reaches them."""
        found: list[Webhook] = []
        with self._database.read() as connection:
            # In portions: of those restricted to models, how many the actor reaches is not known
            # before they are read.
            while len(found) <= limit:
                query = (
                    sa.select(webhooks)
                    .where(webhooks.c.id > after, _perhaps_reached(actor))
                    .order_by(webhooks.c.id)
                )
                rows = [
                    webhook_of(row._mapping) for row in connection.execute(query.limit(limit + 1))
                ]
                found += [one for one in rows if reaches(actor, one)]
                if len(rows) <= limit:
                    break
                after = rows[-1].id
        return Page.of(found, limit, lambda one: one.id)

    def change(
        self,
        id: str,
        change: WebhookChange,
        actor: Actor,
        condition: Precondition = NO_PRECONDITION,
    ) -> Webhook:
        """Change what is given. Disabling ends what is still to be delivered as failed."""
        with self._database.write() as connection:
            current = reached(connection, id, actor, lock=True)
            condition.check(current)
            update: dict[str, object] = {
                name: value
                for name, value in (
                    ("url", change.url),
                    ("title", change.title),
                    ("enabled", change.enabled),
                    ("events", None if change.events is None else check_patterns(change.events)),
                )
                if value is not None and value != getattr(current, name)
            }
            if "enabled" in update:
                update |= {"disabled_reason": "", "failing_since": None}
            if not update:
                return current
            return self._changed(connection, current, update)

    def rotate(
        self,
        id: str,
        overlap_s: int,
        actor: Actor,
        condition: Precondition = NO_PRECONDITION,
    ) -> Webhook:
        """Begin a new generation of the secret; the one before it signs for ``overlap_s`` more."""
        with self._database.write() as connection:
            current = reached(connection, id, actor, lock=True)
            condition.check(current)
            until = self._clock() + overlap_s * 1000 if overlap_s else None
            update: dict[str, object] = {
                "secret_generation": current.secret_generation + 1,
                "previous_secret_until": optional_time(until),
            }
            return self._changed(
                connection, current, update, "webhook.rotated", previous_until_ms=until
            )

    def delete(self, id: str, actor: Actor, condition: Precondition = NO_PRECONDITION) -> None:
        """Remove the endpoint with all its deliveries."""
        with self._database.write() as connection:
            current = reached(connection, id, actor, lock=True)
            condition.check(current)
            connection.execute(
                sa.delete(webhook_deliveries).where(webhook_deliveries.c.webhook == id)
            )
            connection.execute(sa.delete(webhooks).where(webhooks.c.id == id))
            audit.record(
                connection, "webhook.deleted", "webhook", id, at_ms=self._clock(), before=current
            )

    def _changed(
        self,
        connection: Connection,
        current: Webhook,
        update: dict[str, object],
        action: str = "webhook.changed",
        **columns: object,
    ) -> Webhook:
        now = self._clock()
        changed = current.model_copy(update={**update, "updated_at": rfc3339(now)})
        connection.execute(
            sa.update(webhooks)
            .where(webhooks.c.id == current.id)
            .values(
                url=changed.url,
                title=changed.title,
                events=_json(changed.events),
                enabled=changed.enabled,
                disabled_reason=changed.disabled_reason,
                generation=changed.secret_generation,
                updated_ms=now,
                **({"failing_since_ms": None} if changed.failing_since is None else {}),
                **columns,
            )
        )
        if current.enabled and not changed.enabled:
            abandon(connection, current.id, now)
        audit.record(
            connection, action, "webhook", current.id, at_ms=now, before=current, after=changed
        )
        return changed


def reached(connection: Connection, id: str, actor: Actor, *, lock: bool = False) -> Webhook:
    """The endpoint, if it exists for the actor; ``lock`` holds it against other writers."""
    query = sa.select(webhooks).where(webhooks.c.id == id)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    found = None if row is None else webhook_of(row._mapping)
    if found is None or not reaches(actor, found):
        raise TollwayError(Code.NOT_FOUND, f"there is no webhook {id[:80]!r}")
    return found


def _perhaps_reached(actor: Actor) -> sa.ColumnElement[bool]:
    """What SQL can say of :func:`reaches`: false for what is certainly another tenant's."""
    table = webhooks.c
    if actor.consumer is None and actor.models is None and actor.role != "consumer":
        return sa.true()
    own = table.scope == "consumer"
    consumer = reach_of(actor).consumer
    if consumer is not None:
        own = sa.and_(own, table.consumer == consumer)
    if actor.role == "consumer":
        return own
    theirs = sa.and_(table.owner == actor.name, table.scope == "models")
    if actor.models is not None and not actor.models:
        return sa.or_(own, theirs)
    return sa.or_(own, theirs, sa.and_(table.scope == "models", table.models.is_not(None)))


def abandon(connection: Connection, webhook: str, now: int) -> None:
    """End as failed what is still to be delivered to an endpoint that is disabled now."""
    table = webhook_deliveries
    connection.execute(
        sa.update(table)
        .where(table.c.webhook == webhook, table.c.state == "pending")
        .values(state="failed", next_ms=None, updated_ms=now)
    )


def webhook_of(m: Mapping[str, object] | sa.RowMapping) -> Webhook:
    """The endpoint of a row."""
    return msgspec.convert(m, type=_Row, from_attributes=False, strict=False).webhook()


class _Row(msgspec.Struct):
    id: str
    url: str
    events: str
    title: str
    scope: Scope
    consumer: str | None
    models: str | None
    owner: str
    enabled: bool
    disabled_reason: str
    generation: int
    previous_until_ms: int | None
    failing_since_ms: int | None
    created_ms: int
    updated_ms: int

    def webhook(self) -> Webhook:
        return Webhook(
            id=self.id,
            url=self.url,
            events=msgspec.json.decode(self.events),
            title=self.title,
            enabled=self.enabled,
            disabled_reason=self.disabled_reason,
            scope=self.scope,
            consumer=self.consumer,
            models=None if self.models is None else msgspec.json.decode(self.models),
            owner=self.owner,
            secret_generation=self.generation,
            previous_secret_until=optional_time(self.previous_until_ms),
            failing_since=optional_time(self.failing_since_ms),
            created_at=rfc3339(self.created_ms),
            updated_at=rfc3339(self.updated_ms),
        )


def _json(items: list[str]) -> str:
    return msgspec.json.encode(items).decode()


def _require(connection: Connection, consumer: str | None, wanted: list[str] | None) -> None:
    if consumer is not None and find_consumer(connection, check_name(consumer, "consumer")) is None:
        raise TollwayError(Code.NOT_FOUND, f"there is no consumer {consumer[:80]!r}")
    for model in wanted or ():
        query = sa.select(models.c.name).where(models.c.name == check_name(model, "model"))
        if connection.execute(query).first() is None:
            raise TollwayError(Code.MODEL_NOT_FOUND, f"there is no model {model!r}")


def _refuse_too_many(connection: Connection, actor: Actor, consumer: str | None) -> None:
    own = webhooks.c.owner == actor.name
    if consumer is not None:
        own = sa.or_(own, webhooks.c.consumer == consumer)
    count = sa.select(sa.func.count()).select_from(webhooks).where(own)
    if connection.execute(count).scalar_one() >= MAX_PER_OWNER:
        raise TollwayError(
            Code.CONFLICT, f"there are {MAX_PER_OWNER} webhooks already: delete one first"
        )


def _refuse_repetition(connection: Connection, actor: Actor, idempotency_key: str | None) -> None:
    if idempotency_key is None:
        return
    earlier = connection.execute(
        sa.select(webhooks.c.id).where(
            webhooks.c.owner == actor.name, webhooks.c.idempotency_key == idempotency_key
        )
    ).scalar()
    if earlier is not None:
        raise TollwayError(
            Code.CONFLICT,
            f"this Idempotency-Key made the webhook {earlier} already; a secret is shown only "
            "once: use the one you have, or rotate it",
        )
