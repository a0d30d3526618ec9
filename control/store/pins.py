"""Pins: which version answers an application, whatever the model's rollout says."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.pins import Pin
from control.preconditions import NO_PRECONDITION, Precondition
from control.reach import Reach
from control.resources import Page, Subscription
from control.store.applications import find_application, missing_application, within
from control.store.directory import Put
from control.store.failures import repeated
from control.store.pin_rows import (
    end_pin,
    find_pin,
    is_pin,
    pin_key,
    pin_of,
    pins,
    publish_pin,
)
from control.store.subscription_rows import find_subscription, reachable
from control.store.tables import subscriptions
from protocol.configuration import CALLABLE_STATES
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.acting import acting
from registry.clock import Clock
from registry.deprecation import check_takes_pins
from registry.status import ServingStatusOf
from registry.store import audit
from registry.store import models as model_store
from registry.store import versions as version_store
from registry.store.database import Database
from registry.traffic import callable_version
from registry.versions import version_not_found


class Pins:
    """Reads and writes pins. Thread-safe; calls block.

    ``reach`` is the caller's: a pin is within it by its application or by its model.
    """

    def __init__(self, database: Database, clock: Clock, serving_status: ServingStatusOf) -> None:
        self._database = database
        self._clock = clock
        self._serving_status = serving_status

    @repeated
    def put(
        self,
        application: str,
        model: str,
        version: int,
        reason: str = "",
        condition: Precondition = NO_PRECONDITION,
        *,
        reach: Reach,
    ) -> Put[Pin]:
        """Pin an application that subscribes to the model to a version that it may call.

        Raises ``NOT_FOUND`` for what is not within reach, ``VERSION_NOT_FOUND`` for a version that
        the caller may not know of, and ``CONFLICT`` for one that is not in service or is on its way
        out, or without an active subscription.
        """
        check_name(application, "application")
        check_name(model, "model")
        status = self._serving_status(model, version)
        now = self._clock()
        with self._database.write() as connection:
            subscription = self._subscribed(connection, application, model, reach)
            if subscription.state != "active":
                raise TollwayError(
                    Code.CONFLICT,
                    f"the subscription of {application!r} to {model!r} is {subscription.state}: "
                    "there are no calls that a pin could send anywhere",
                )
            # Under the model's lock no version is taken out of service that a pin goes to.
            model_store.lock(connection, model)
            current = find_pin(connection, application, model)
            condition.check(current)
            if current is not None and current.version == version:
                return Put(current, False)
            _check_known(connection, model, version, reach)
            target = callable_version(connection, model, version, status, "the pinned version")
            check_takes_pins(target)
            side = "consumer" if acting().role == "consumer" else "publisher"
            row = {"version": version, "set_by": side, "reason": reason, "updated_ms": now}
            if current is None:
                key = {"application": application, "model": model, "created_ms": now}
                connection.execute(sa.insert(pins).values(**key, **row))
            else:
                place = is_pin(application, model)
                connection.execute(sa.update(pins).where(place).values(row))
            changed = find_pin(connection, application, model)
            assert changed is not None
            publish_pin(connection, changed)
            audit.record(
                connection,
                "pin.created" if current is None else "pin.changed",
                "pin",
                pin_key(application, model),
                at_ms=now,
                before=current,
                after=changed,
                reason=reason,
            )
            return Put(changed, current is None)

    def get(self, application: str, model: str, *, reach: Reach) -> Pin:
        """The pin, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            if find_subscription(connection, application, model, reach) is not None:
                found = find_pin(connection, application, model)
                if found is not None:
                    return found
        raise _missing(application, model)

    @repeated
    def delete(
        self,
        application: str,
        model: str,
        condition: Precondition = NO_PRECONDITION,
        *,
        reach: Reach,
    ) -> None:
        """Remove the pin, or raise ``NOT_FOUND``."""
        with self._database.write() as connection:
            if find_subscription(connection, application, model, reach, lock=True) is None:
                raise _missing(application, model)
            condition.check(find_pin(connection, application, model))
            if end_pin(connection, application, model, self._clock()) is None:
                raise _missing(application, model)

    def of_application(
        self, application: str, limit: int, after: str, *, reach: Reach
    ) -> Page[Pin]:
        """An application's pins by model, as far as they are within reach. Raises ``NOT_FOUND``
        for an application of which nothing is."""
        query = sa.select(pins).where(
            pins.c.application == application, pins.c.model > after, _reachable(reach)
        )
        with self._database.read() as connection:
            if not _knows(connection, application, reach):
                raise missing_application(application)
            rows = connection.execute(query.order_by(pins.c.model).limit(limit + 1))
            items = [pin_of(row) for row in rows]
        return Page.of(items, limit, lambda pin: pin.model)

    def of_model(self, model: str, limit: int, after: str) -> Page[Pin]:
        """A model's pins by application, for those who manage it."""
        query = sa.select(pins).where(pins.c.model == model, pins.c.application > after)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(pins.c.application).limit(limit + 1))
            items = [pin_of(row) for row in rows]
        return Page.of(items, limit, lambda pin: pin.application)

    @staticmethod
    def _subscribed(
        connection: Connection, application: str, model: str, reach: Reach
    ) -> Subscription:
        found = find_subscription(connection, application, model, reach, lock=True)
        if found is None:
            raise TollwayError(
                Code.NOT_FOUND,
                f"application {application[:80]!r} has no subscription to model {model[:80]!r}: "
                "only who may call a model can be pinned to a version of it",
            )
        return found


def _check_known(connection: Connection, model: str, version: int, reach: Reach) -> None:
    """Others than those who manage the model know of no version before it is published."""
    found = version_store.get(connection, model, version)
    public = found is not None and found.state in CALLABLE_STATES | {"retired"}
    if not public and not reach.has_model(model):
        raise version_not_found(model, version)


def _reachable(reach: Reach) -> sa.ColumnElement[bool]:
    if reach.consumer is None or reach.models is None:
        return sa.true()
    mine = within(reach, pins.c.application)
    return sa.or_(mine, pins.c.model.in_(sorted(reach.models))) if reach.models else mine


def _knows(connection: Connection, application: str, reach: Reach) -> bool:
    """Whether the application, or one of its subscriptions, is within reach."""
    found = find_application(connection, application)
    if found is None:
        return False
    if reach.has_consumer(found.consumer):
        return True
    query = sa.select(subscriptions.c.model).where(
        subscriptions.c.application == application, reachable(reach)
    )
    return connection.execute(query.limit(1)).first() is not None


def _missing(application: str, model: str) -> TollwayError:
    return TollwayError(
        Code.NOT_FOUND,
        f"application {application[:80]!r} has no pin for model {model[:80]!r}",
    )
