"""Subscriptions: which application may call which model, on what terms."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.preconditions import NO_PRECONDITION, Precondition
from control.resources import Page, Subscription
from control.store.directory import Put, get_application
from control.store.failures import repeated
from control.store.plans import require_plan
from control.store.tables import subscriptions
from protocol.configuration import SubscriptionDoc
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.clock import Clock, rfc3339
from registry.store import changes
from registry.store.database import Database
from registry.store.tables import models


class Subscriptions:
    """Reads and writes subscriptions. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @repeated
    def put(
        self,
        application: str,
        model: str,
        plan: str,
        condition: Precondition = NO_PRECONDITION,
    ) -> Put[Subscription]:
        """Subscribe, or move the subscription to another plan."""
        check_name(application, "application")
        check_name(model, "model")
        now = self._clock()
        with self._database.write() as connection:
            current = _find(connection, application, model, lock=True)
            condition.check(current)
            require_plan(connection, plan)
            if current is not None and current.plan == plan:
                return Put(current, False)
            if current is None:
                get_application(connection, application)
                _require_model(connection, model)
                row = {"application": application, "model": model, "plan": plan}
                connection.execute(
                    sa.insert(subscriptions).values(**row, created_ms=now, updated_ms=now)
                )
            else:
                connection.execute(
                    sa.update(subscriptions)
                    .where(_is(application, model))
                    .values(plan=plan, updated_ms=now)
                )
            document = SubscriptionDoc(application=application, model=model, plan=plan)
            changes.append(connection, "subscription", f"{application}/{model}", document)
            changed = _find(connection, application, model)
            assert changed is not None
            return Put(changed, current is None)

    def get(self, application: str, model: str) -> Subscription:
        """The subscription, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            found = _find(connection, application, model)
        if found is None:
            raise _missing(application, model)
        return found

    def delete(
        self, application: str, model: str, condition: Precondition = NO_PRECONDITION
    ) -> None:
        """End the subscription, or raise ``NOT_FOUND``."""
        with self._database.write() as connection:
            current = _find(connection, application, model, lock=True)
            if current is None:
                raise _missing(application, model)
            condition.check(current)
            connection.execute(sa.delete(subscriptions).where(_is(application, model)))
            changes.append(connection, "subscription", f"{application}/{model}", None)

    def list(
        self, limit: int, after: str, application: str | None, model: str | None
    ) -> Page[Subscription]:
        """Subscriptions by application and model; ``after`` is ``APPLICATION/MODEL``."""
        after_application, _, after_model = after.partition("/")
        table = subscriptions.c
        query = (
            sa.select(subscriptions)
            .where(
                sa.or_(
                    table.application > after_application,
                    sa.and_(table.application == after_application, table.model > after_model),
                )
            )
            .order_by(table.application, table.model)
            .limit(limit + 1)
        )
        if application is not None:
            query = query.where(table.application == application)
        if model is not None:
            query = query.where(table.model == model)
        with self._database.read() as connection:
            items = [_subscription(row) for row in connection.execute(query)]
        following = None
        if len(items) > limit:
            last = items[limit - 1]
            following = f"{last.application}/{last.model}"
        return Page(items=items[:limit], next=following)


def _is(application: str, model: str) -> sa.ColumnElement[bool]:
    return sa.and_(subscriptions.c.application == application, subscriptions.c.model == model)


def _find(
    connection: Connection, application: str, model: str, *, lock: bool = False
) -> Subscription | None:
    """The subscription; ``lock`` holds it against other writers, so that what was judged is what
    is changed."""
    query = sa.select(subscriptions).where(_is(application, model))
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else _subscription(row)


def _require_model(connection: Connection, model: str) -> None:
    if connection.execute(sa.select(models.c.name).where(models.c.name == model)).first() is None:
        raise TollwayError(Code.MODEL_NOT_FOUND, f"there is no model {model!r}")


def _missing(application: str, model: str) -> TollwayError:
    return TollwayError(
        Code.NOT_FOUND,
        f"application {application[:80]!r} has no subscription to model {model[:80]!r}",
    )


def _subscription(row: sa.Row[tuple[object, ...]]) -> Subscription:
    m = row._mapping
    return Subscription(
        application=m["application"],
        model=m["model"],
        plan=m["plan"],
        created_at=rfc3339(m["created_ms"]),
        updated_at=rfc3339(m["updated_ms"]),
    )
