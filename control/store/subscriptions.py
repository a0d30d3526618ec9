"""Subscriptions: which application may call which model, on what terms, and who agreed to that."""

from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.plans import Plan
from control.preconditions import NO_PRECONDITION, Precondition
from control.reach import EVERYTHING, Reach
from control.resources import Page, Subscription
from control.store.applications import get_application
from control.store.directory import Put
from control.store.failures import repeated
from control.store.plans import require_plan
from control.store.subscription_rows import (
    find_subscription,
    is_subscription,
    publish_subscription,
    reachable,
    subscription_key,
    subscription_of,
    withdraw_subscription,
)
from control.store.tables import subscriptions
from control.store.visible_models import visible_models
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.clock import Clock
from registry.store import audit
from registry.store.database import Database

_ENDED: Final = frozenset({"deprecated", "retired", "rejected"})


class _Wish(msgspec.Struct, frozen=True):
    """What a subscription is to be after a PUT."""

    plan: str
    state: str
    requested_plan: str | None


class Subscriptions:
    """Reads and writes subscriptions. Thread-safe; calls block.

    ``reach`` is the caller's: a subscription is within it by its application or by its model.
    """

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
        *,
        reach: Reach,
    ) -> Put[Subscription]:
        """Subscribe, or move the subscription to another plan.

        Under a plan that asks for approval it waits for that, unless the caller manages the model;
        one that is active stays active under its present plan meanwhile.
        """
        check_name(application, "application")
        check_name(model, "model")
        now = self._clock()
        with self._database.write() as connection:
            current = find_subscription(connection, application, model, reach, lock=True)
            condition.check(current)
            if current is None:
                get_application(connection, application, reach=reach)
                _require_model(connection, model, reach)
            wish = _wished(current, require_plan(connection, plan), manages=reach.has_model(model))
            values = {**msgspec.structs.asdict(wish), "updated_ms": now}
            if current is None:
                row = {"application": application, "model": model, "created_ms": now, **values}
                connection.execute(sa.insert(subscriptions).values(row))
            elif wish == _Wish(current.plan, current.state, current.requested_plan):
                return Put(current, False)
            else:
                if wish.state != current.state:
                    values |= {"reason": None, "decided_ms": None}
                connection.execute(
                    sa.update(subscriptions)
                    .where(is_subscription(application, model))
                    .values(values)
                )
            changed = _reread(connection, application, model)
            _publish_difference(connection, current, changed)
            _record(connection, _action_of_put(current, changed), current, changed, now)
            return Put(changed, current is None)

    def approve(
        self,
        application: str,
        model: str,
        reason: str = "",
        condition: Precondition = NO_PRECONDITION,
        *,
        reach: Reach,
    ) -> Subscription:
        """Agree to what the subscription waits for: it is active under the plan asked for.

        One that was refused can be approved after all. Only who manages the model can.
        """
        now = self._clock()
        with self._database.write() as connection:
            current = self._decidable(connection, application, model, condition, reach)
            if current.state == "active" and current.requested_plan is None:
                raise _nothing_to_decide(current)
            values = {
                "plan": current.requested_plan or current.plan,
                "requested_plan": None,
                "state": "active",
            }
            return self._decide(connection, current, "approved", values, reason, now)

    def refuse(
        self,
        application: str,
        model: str,
        reason: str,
        condition: Precondition = NO_PRECONDITION,
        *,
        reach: Reach,
    ) -> Subscription:
        """Disagree. An active subscription keeps the plan that it has; to end it, delete it."""
        now = self._clock()
        with self._database.write() as connection:
            current = self._decidable(connection, application, model, condition, reach)
            if current.state != "pending" and current.requested_plan is None:
                raise _nothing_to_decide(current)
            state = "refused" if current.state == "pending" else current.state
            values: dict[str, str | None] = {"requested_plan": None, "state": state}
            return self._decide(connection, current, "refused", values, reason, now)

    def _decidable(
        self,
        connection: Connection,
        application: str,
        model: str,
        condition: Precondition,
        reach: Reach,
    ) -> Subscription:
        current = find_subscription(connection, application, model, reach, lock=True)
        if current is None:
            raise _missing(application, model)
        if not reach.has_model(model):
            # The caller sees this subscription as its own: nothing is given away.
            raise TollwayError(
                Code.FORBIDDEN, f"who manages model {model!r} decides on its subscriptions"
            )
        condition.check(current)
        return current

    def _decide(
        self,
        connection: Connection,
        current: Subscription,
        decision: str,
        values: dict[str, str | None],
        reason: str,
        now: int,
    ) -> Subscription:
        written = {**values, "reason": reason or None, "decided_ms": now, "updated_ms": now}
        place = is_subscription(current.application, current.model)
        connection.execute(sa.update(subscriptions).where(place).values(written))
        changed = _reread(connection, current.application, current.model)
        _publish_difference(connection, current, changed)
        _record(connection, decision, current, changed, now, reason)
        return changed

    def get(self, application: str, model: str, *, reach: Reach) -> Subscription:
        """The subscription, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            found = find_subscription(connection, application, model, reach)
        if found is None:
            raise _missing(application, model)
        return found

    def delete(
        self,
        application: str,
        model: str,
        condition: Precondition = NO_PRECONDITION,
        *,
        reach: Reach,
    ) -> None:
        """End the subscription, or raise ``NOT_FOUND``."""
        with self._database.write() as connection:
            current = find_subscription(connection, application, model, reach, lock=True)
            if current is None:
                raise _missing(application, model)
            condition.check(current)
            withdraw_subscription(connection, current, self._clock())

    def list(
        self,
        limit: int,
        after: str,
        application: str | None,
        model: str | None,
        state: str | None = None,
        plan: str | None = None,
        *,
        reach: Reach,
    ) -> Page[Subscription]:
        """Subscriptions by application and model; ``after`` is ``APPLICATION/MODEL``. The state
        ``pending`` includes active ones that wait for another plan."""
        after_application, _, after_model = after.partition("/")
        table = subscriptions.c
        query = (
            sa.select(subscriptions)
            .where(
                reachable(reach),
                sa.or_(
                    table.application > after_application,
                    sa.and_(table.application == after_application, table.model > after_model),
                ),
            )
            .order_by(table.application, table.model)
            .limit(limit + 1)
        )
        if application is not None:
            query = query.where(table.application == application)
        if model is not None:
            query = query.where(table.model == model)
        if state == "pending":
            query = query.where(sa.or_(table.state == state, table.requested_plan.is_not(None)))
        elif state is not None:
            query = query.where(table.state == state)
        if plan is not None:
            query = query.where(sa.or_(table.plan == plan, table.requested_plan == plan))
        with self._database.read() as connection:
            items = [subscription_of(row) for row in connection.execute(query)]
        return Page.of(items, limit, subscription_key)


def _wished(current: Subscription | None, plan: Plan, *, manages: bool) -> _Wish:
    at_once = manages or plan.approval == "automatic"
    if current is None or current.state != "active":
        return _Wish(plan.name, "active" if at_once else "pending", None)
    if at_once or plan.name == current.plan:
        return _Wish(plan.name, "active", None)
    return _Wish(current.plan, "active", plan.name)


def _action_of_put(current: Subscription | None, changed: Subscription) -> str:
    asks = changed.state == "pending" or changed.requested_plan is not None
    if asks:
        return "requested"
    return "created" if current is None else "changed"


def _publish_difference(
    connection: Connection, before: Subscription | None, after: Subscription
) -> None:
    was = before.plan if before is not None and before.state == "active" else None
    now = after.plan if after.state == "active" else None
    if was != now:
        publish_subscription(connection, after)


def _record(
    connection: Connection,
    action: str,
    before: Subscription | None,
    after: Subscription,
    now: int,
    reason: str = "",
) -> None:
    audit.record(
        connection,
        f"subscription.{action}",
        "subscription",
        subscription_key(after),
        at_ms=now,
        before=before,
        after=after,
        reason=reason,
    )


def _reread(connection: Connection, application: str, model: str) -> Subscription:
    found = find_subscription(connection, application, model, EVERYTHING)
    assert found is not None
    return found


def _require_model(connection: Connection, model: str, reach: Reach) -> None:
    """Refuse a model that the caller cannot know, and one whose time is over.

    Whoever manages the model may subscribe an application before its first version is published.
    """
    states = visible_models(connection, [model], reach)[model]
    if "published" in states or not states & {"deprecated", "retired"}:
        return
    if states - _ENDED and reach.has_model(model) and "deprecated" not in states:
        return  # a successor of what was retired is being prepared
    what = "deprecated" if "deprecated" in states else "retired"
    raise TollwayError(
        Code.CONFLICT,
        f"model {model!r} takes no new subscriptions: its versions are {what}. Those that it has "
        "stay; publish a version to take new ones",
    )


def _nothing_to_decide(subscription: Subscription) -> TollwayError:
    return TollwayError(
        Code.CONFLICT,
        f"the subscription of {subscription.application!r} to {subscription.model!r} is "
        f"{subscription.state} and waits for nothing",
    )


def _missing(application: str, model: str) -> TollwayError:
    return TollwayError(
        Code.NOT_FOUND,
        f"application {application[:80]!r} has no subscription to model {model[:80]!r}",
    )
