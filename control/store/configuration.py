"""Applies a whole configuration in one transaction, or tells what that would change."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.configuration import (
    ApplicationSpec,
    Configuration,
    ConfigurationChange,
    ConfigurationResult,
    ConsumerSpec,
    Kind,
    ModelSpec,
    State,
    change_of,
    configured,
)
from control.plans import PlanRequest
from control.reach import reach_of
from control.resources import DEFAULT_CONSUMER, ApplicationRequest, ConsumerRequest, Resource
from control.store.applications import application_of, find_application, within
from control.store.configuration_rows import lock, present_models, unused
from control.store.directory import Directory, Put, find_consumer
from control.store.failures import repeated
from control.store.plans import Plans
from control.store.subscription_rows import find_subscription, reachable, subscription_of
from control.store.subscriptions import Subscriptions
from control.store.tables import applications, consumers, plans, subscriptions
from protocol.errors import Code, TollwayError
from registry.access import Actor, Role
from registry.acting import acting, acting_as
from registry.aliases import Aliases
from registry.clock import Clock
from registry.inputs import permille
from registry.models import Models, model_not_found
from registry.status import ServingStatusOf
from registry.store import aliases as alias_store
from registry.store import models as model_store
from registry.store.audit import gathered
from registry.store.database import Database, OneTransaction
from registry.store.owners import Owners

Shown = TypeVar("Shown", bound=Resource)
REASON: Final = "apply"
"""The reason of every entry that an application leaves, where the caller gives none."""


class _Undone(Exception):  # noqa: N818 -- no error: a dry run ends by it
    """Rolls a dry run back."""


class Configurations:
    """Reads and applies configurations. Thread-safe; calls block."""

    def __init__(
        self, database: Database, clock: Clock, owners: Owners, serving_status: ServingStatusOf
    ) -> None:
        self._database = database
        self._clock = clock
        self._owners = owners
        self._serving_status = serving_status

    @repeated
    def apply(
        self,
        wanted: Configuration,
        actor: Actor,
        *,
        dry_run: bool = False,
        prune: bool = False,
        reason: str = "",
    ) -> ConfigurationResult:
        """Make everything as ``wanted`` says, or nothing. Repeating it changes nothing.

        With ``prune``, what the sections in it do not name is deleted, as far as ``actor`` reaches
        it. A dry run does the same and takes it back: what it answers is what an application does.
        Raises what the changes raise, with the item's place in front; nothing is changed then.
        """
        if wanted.plans is not None and actor.role not in _planners(dry_run=dry_run):
            raise TollwayError(Code.FORBIDDEN, "plans: changing plans needs the role admin")
        origin = acting()
        why = reason or origin.reason or REASON
        changes: list[ConfigurationChange] = []
        try:
            with (
                acting_as(msgspec.structs.replace(origin, reason=why)),
                self._database.write() as connection,
                gathered(connection),
            ):
                lock(connection)
                run = _Run(
                    connection, self._clock, self._owners, self._serving_status, actor, changes
                )
                run.put(wanted)
                if prune:
                    run.prune(wanted)
                if dry_run:
                    raise _Undone
        except _Undone:
            pass
        changes.sort(key=lambda change: (change.kind, change.key))
        return ConfigurationResult(applied=not dry_run, changes=changes)

    def export(self, actor: Actor) -> Configuration:
        """The present state, as far as ``actor`` reaches it, in the form that is applied.

        Subscriptions that wait for a decision, or were refused, are no configuration.
        """
        reach = reach_of(actor)
        with self._database.read() as connection:
            theirs = sa.select(applications).where(within(reach, applications.c.name))
            apps = [application_of(row) for row in connection.execute(theirs)]
            names = sa.select(consumers.c.name, consumers.c.title)
            if reach.consumer is not None:
                names = names.where(consumers.c.name == reach.consumer)
            active = sa.select(subscriptions).where(
                reachable(reach), subscriptions.c.state == "active"
            )
            held: dict[str, dict[str, str]] = {}
            for row in connection.execute(active):
                one = subscription_of(row)
                held.setdefault(one.application, {})[one.model] = one.plan
            terms = (
                {
                    row.name: PlanRequest.model_validate_json(row.terms)
                    for row in connection.execute(sa.select(plans))
                }
                if actor.role in _planners(dry_run=True)
                else None
            )
            return Configuration(
                plans=terms,
                consumers={
                    row.name: ConsumerSpec(title=row.title) for row in connection.execute(names)
                },
                applications={
                    app.name: ApplicationSpec(
                        consumer=app.consumer,
                        title=app.title,
                        origins=app.origins,
                        capture=app.capture,
                    )
                    for app in apps
                },
                models={
                    model.name: ModelSpec(
                        title=model.title,
                        description=model.description,
                        idle_unload_s=model.idle_unload_s,
                        cold_start_wait_s=model.cold_start_wait_s,
                        capture_percent=model.capture_permille / 10,
                        capture_days=model.capture_days,
                        aliases=model.aliases,
                    )
                    for model in present_models(connection, reach.models)
                },
                subscriptions=held,
            )


class _Stores(NamedTuple):
    """The same code as behind the single routes, all on one transaction."""

    plans: Plans
    directory: Directory
    subscriptions: Subscriptions
    models: Models
    aliases: Aliases


class _Run:
    """One application within its transaction."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        owners: Owners,
        serving_status: ServingStatusOf,
        actor: Actor,
        changes: list[ConfigurationChange],
    ) -> None:
        database = OneTransaction(connection)
        self._connection = connection
        self._actor = actor
        self._reach = reach_of(actor)
        self._changes = changes
        self._new_models: set[str] = set()
        self._stores = _Stores(
            Plans(database, clock),
            Directory(database, clock),
            Subscriptions(database, clock),
            Models(database, clock, owners),
            Aliases(database, clock, serving_status),
        )

    def put(self, wanted: Configuration) -> None:
        """Make and change. What others refer to comes first, whatever the order in the file."""
        stores = self._stores
        for name, plan in (wanted.plans or {}).items():
            self._step("plan", f"plans.{name}", name, partial(stores.plans.put, name, plan))
        for name, consumer in (wanted.consumers or {}).items():
            titled = ConsumerRequest(title=consumer.title)
            put = partial(stores.directory.put_consumer, name, titled, reach=self._reach)
            self._step("consumer", f"consumers.{name}", name, put)
        owner = self._state("consumer", DEFAULT_CONSUMER)
        for name, application in (wanted.applications or {}).items():
            made = ApplicationRequest(**dict(application))
            puts = partial(stores.directory.put_application, name, made, reach=self._reach)
            self._step("application", f"applications.{name}", name, puts)
        # Made by itself for an application that names no consumer.
        made_owner = self._state("consumer", DEFAULT_CONSUMER)
        self._note("consumer", DEFAULT_CONSUMER, owner, made_owner)
        for name, model in (wanted.models or {}).items():
            with _place(f"models.{name}"):
                self._put_model(name, model)
            for alias, version in (model.aliases or {}).items():
                with _place(f"models.{name}.aliases.{alias}"):
                    self._point(name, alias, version)
        for application_name, held in (wanted.subscriptions or {}).items():
            for model_name, plan_name in held.items():
                with _place(f"subscriptions.{application_name}.{model_name}"):
                    self._subscribe(application_name, model_name, plan_name)

    def prune(self, wanted: Configuration) -> None:
        """Delete what the sections do not name: what refers to others first."""
        stores, reach = self._stores, self._reach
        if wanted.subscriptions is not None:
            self._prune_subscriptions(wanted.subscriptions)
        if wanted.models is not None:
            self._prune_aliases(wanted.models)
        if wanted.applications is not None:
            for name in self._others(applications, wanted.applications):
                if reach.consumer is None or self._is_theirs(name):
                    self._delete(
                        "application",
                        name,
                        partial(stores.directory.delete_application, name, reach=reach),
                    )
        if wanted.consumers is not None:
            for name in self._others(consumers, wanted.consumers):
                if reach.has_consumer(name):
                    self._delete(
                        "consumer",
                        name,
                        partial(stores.directory.delete_consumer, name, reach=reach),
                    )
        if wanted.plans is not None:
            for name in self._others(plans, wanted.plans):
                if not stores.plans.get(name).built_in:
                    self._delete("plan", name, partial(stores.plans.delete, name))

    def _step(self, kind: Kind, place: str, key: str, put: Callable[[], Put[Shown]]) -> None:
        with _place(place):
            before = self._state(kind, key)
            self._note(kind, key, before, configured(put().item))

    def _delete(self, kind: Kind, key: str, delete: Callable[[], None]) -> None:
        with _place(f"{kind} {key} (to be pruned)"):
            before = self._state(kind, key)
            if kind == "application":
                unused(self._connection, key)
            delete()
            self._note(kind, key, before, None)

    def _note(self, kind: Kind, key: str, before: State | None, after: State | None) -> None:
        change = change_of(kind, key, before, after)
        if change is not None:
            self._changes.append(change)

    def _state(self, kind: Kind, key: str) -> State | None:
        match kind:
            case "plan":
                there = sa.select(plans.c.name).where(plans.c.name == key)
                found_plan = self._connection.execute(there).first()
                return None if found_plan is None else configured(self._stores.plans.get(key))
            case "consumer":
                return configured(find_consumer(self._connection, key))
            case "application":
                return configured(find_application(self._connection, key))
            case _:
                first, _, second = key.partition("/")
                found = find_subscription(self._connection, first, second, self._reach)
                return configured(found)

    def _others(self, table: sa.Table, named: object) -> list[str]:
        query = sa.select(table.c.name).order_by(table.c.name)
        assert isinstance(named, dict)
        return [name for name in self._connection.execute(query).scalars() if name not in named]

    def _is_theirs(self, application: str) -> bool:
        found = find_application(self._connection, application)
        return found is not None and self._reach.has_consumer(found.consumer)

    def _put_model(self, name: str, model: ModelSpec) -> None:
        before = model_store.get(self._connection, name)
        if before is not None and not self._actor.manages_model(name):
            raise model_not_found(name)
        after, made = self._stores.models.put(
            name,
            title=model.title,
            description=model.description,
            idle_unload_s=model.idle_unload_s,
            cold_start_wait_s=model.cold_start_wait_s,
            capture_permille=permille(model.capture_percent),
            capture_days=model.capture_days,
            by=self._actor,
        )
        if made:
            self._new_models.add(name)
        said = None if before is None else _said(before)
        self._note("model", name, said, _said(after))

    def _point(self, model: str, alias: str, version: int) -> None:
        before = alias_store.get(self._connection, model, alias)
        self._stores.aliases.set(model, alias, version, actor=self._actor.name, expected=None)
        was = None if before is None else {"version": before.version}
        self._note("alias", f"{model}/{alias}", was, {"version": version})

    def _subscribe(self, application: str, model: str, plan: str) -> None:
        key = f"{application}/{model}"
        before = find_subscription(self._connection, application, model, self._reach)
        if before is not None and (before.state, before.plan) == ("active", plan):
            return  # also where it asks for another plan: that waits for a decision, not for this
        put = self._stores.subscriptions.put(application, model, plan, reach=self._reach)
        self._note("subscription", key, configured(before), configured(put.item))

    def _prune_subscriptions(self, named: dict[str, dict[str, str]]) -> None:
        query = sa.select(subscriptions).where(
            reachable(self._reach), subscriptions.c.state == "active"
        )
        for one in [subscription_of(row) for row in self._connection.execute(query)]:
            if one.model not in named.get(one.application, {}):
                delete = partial(
                    self._stores.subscriptions.delete,
                    one.application,
                    one.model,
                    reach=self._reach,
                )
                self._delete("subscription", f"{one.application}/{one.model}", delete)

    def _prune_aliases(self, named: dict[str, ModelSpec]) -> None:
        """Of the models named with aliases: models themselves are never deleted."""
        for model, spec in named.items():
            if spec.aliases is None:
                continue
            present = alias_store.page(self._connection, model, "", 1000)
            for one in present:
                if one.alias not in spec.aliases:
                    self._stores.aliases.delete(
                        model, one.alias, actor=self._actor.name, expected=None
                    )
                    before = {"version": one.version}
                    self._note("alias", f"{model}/{one.alias}", before, None)


def _planners(*, dry_run: bool) -> frozenset[Role]:
    """Who may send plans: auditors only to see what would change."""
    return frozenset({"admin", "auditor"}) if dry_run else frozenset({"admin"})


def _said(model: model_store.ModelRecord) -> State:
    return msgspec.structs.asdict(model.settings)


@contextmanager
def _place(path: str) -> Iterator[None]:
    """Put where it is in the file in front of a refusal."""
    try:
        yield
    except TollwayError as error:
        raise TollwayError(error.code, f"{path}: {error.public}", error.internal) from error
