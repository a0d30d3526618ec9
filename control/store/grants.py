"""Who owns a model, and who else manages it by a grant of its owner."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.identity.resources import Grant, ManagedModel, Ownership
from control.identity.roles import MANAGERS
from control.resources import Page
from control.store.directory import Put
from control.store.failures import repeated
from control.store.grant_rows import find_grant, grant_of, is_grant
from control.store.user_tables import grants
from control.store.user_tokens import lock_users, publish_credentials
from control.store.users import find_user
from protocol.errors import Code, TollwayError
from registry.access import INSTALLATION, Actor
from registry.clock import Clock, rfc3339
from registry.store import models as model_store
from registry.store.audit import record
from registry.store.database import Database
from registry.store.tables import models


class ModelOwners:
    """Keeps published tokens up with what their users own; handed to the registry."""

    def hold(self, connection: Connection, *owners: str) -> None:
        """Lock the users."""
        lock_users(connection, *owners)

    def changed(self, connection: Connection, owner: str) -> None:
        """Publish the owner's tokens again."""
        publish_credentials(connection, owner)


class Grants:
    """Reads and writes grants and ownership. Thread-safe; calls block.

    Locks are taken in one order: the model, its users by name, the logs.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def owner(self, model: str) -> Ownership:
        """Who owns the model, or ``MODEL_NOT_FOUND``."""
        with self._database.read() as connection:
            return Ownership(model=model, owner=_owner(connection, model))

    def list(self, model: str, limit: int, after: str) -> Page[Grant]:
        """The model's grants by user."""
        query = (
            sa.select(grants)
            .where(grants.c.model == model, grants.c.user_name > after)
            .order_by(grants.c.user_name)
            .limit(limit + 1)
        )
        with self._database.read() as connection:
            items = [grant_of(row) for row in connection.execute(query)]
        return Page.of(items, limit, lambda one: one.user)

    def managed(self, user: str, limit: int, after: str) -> Page[ManagedModel]:
        """The models that the user owns or was granted, by name; ``NOT_FOUND`` without the user."""
        owned = (
            sa.select(models.c.name.label("model"))
            .add_columns(sa.literal("owner").label("by"), sa.cast(sa.null(), sa.BigInteger))
            .where(models.c.owner == user, models.c.name > after)
        )
        by = sa.case((grants.c.named, "sponsor"), else_="grant")
        given = sa.select(grants.c.model, by, grants.c.created_ms).where(
            grants.c.user_name == user, grants.c.model > after
        )
        query = sa.union_all(owned, given).order_by("model").limit(limit + 1)
        with self._database.read() as connection:
            if find_user(connection, user) is None:
                raise TollwayError(Code.NOT_FOUND, f"there is no user {user!r}")
            items = [
                ManagedModel(model=name, by=how, since=None if ms is None else rfc3339(ms))
                for name, how, ms in connection.execute(query)
            ]
        return Page.of(items, limit, lambda one: one.model)

    def get(self, model: str, user: str) -> Grant:
        """The grant, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            found = find_grant(connection, model, user)
        if found is None:
            raise _missing(model, user)
        return found

    @repeated
    def put(self, model: str, user: str, actor: Actor) -> Put[Grant]:
        """Let ``user`` manage the model, whoever its sponsor is. Raises ``NOT_FOUND`` for who
        cannot."""
        now = self._clock()
        with self._database.write() as connection:
            self._own(connection, model, actor, user)
            present = find_grant(connection, model, user)
            if present is not None and not present.named:
                return Put(present, False)
            _require_manager(connection, user)
            row = {"created_ms": now, "created_by": actor.name, "named": False}
            if present is None:
                connection.execute(sa.insert(grants).values(model=model, user_name=user, **row))
                publish_credentials(connection, user)
            else:
                connection.execute(sa.update(grants).where(is_grant(model, user)).values(row))
            made = find_grant(connection, model, user)
            assert made is not None
            record(
                connection,
                "grant.created" if present is None else "grant.changed",
                "grant",
                f"{model}/{user}",
                at_ms=now,
                before=present,
                after=made,
            )
            return Put(made, present is None)

    def delete(self, model: str, user: str, actor: Actor) -> None:
        """Take the grant back, or raise ``NOT_FOUND``."""
        now = self._clock()
        with self._database.write() as connection:
            self._own(connection, model, actor, user)
            present = find_grant(connection, model, user)
            if present is None:
                raise _missing(model, user)
            connection.execute(sa.delete(grants).where(is_grant(model, user)))
            publish_credentials(connection, user)
            key = f"{model}/{user}"
            record(connection, "grant.removed", "grant", key, at_ms=now, before=present)

    @repeated
    def transfer(self, model: str, user: str, actor: Actor) -> Ownership:
        """Make ``user``, or the installation, the owner; the one before keeps nothing of it."""
        now = self._clock()
        with self._database.write() as connection:
            before = self._own(connection, model, actor, user)
            after = Ownership(model=model, owner=user)
            if before == after:
                return after
            if user != INSTALLATION.name:
                _require_manager(connection, user, roles=frozenset({"admin", "publisher"}))
            connection.execute(sa.delete(grants).where(is_grant(model, user)))
            model_store.set_owner(connection, model, user, now)
            publish_credentials(connection, before.owner)
            publish_credentials(connection, user)
            record(
                connection, "model.transferred", "model", model,
                at_ms=now, before=before, after=after,
            )  # fmt: skip
            return after

    def _own(self, connection: Connection, model: str, actor: Actor, user: str) -> Ownership:
        """Take the locks, and refuse who is neither the owner nor an admin."""
        model_store.lock(connection, model)
        owner = _owner(connection, model)
        lock_users(connection, owner, user)
        if actor.models is not None and actor.name != owner:
            raise TollwayError(
                Code.FORBIDDEN, f"only the owner of model {model!r} shares it or gives it away"
            )
        return Ownership(model=model, owner=owner)


def _owner(connection: Connection, model: str) -> str:
    owner = model_store.owner(connection, model)
    if owner is None:
        raise TollwayError(Code.MODEL_NOT_FOUND, f"there is no model {model[:80]!r}")
    return owner


def _require_manager(
    connection: Connection, user: str, roles: frozenset[str] = frozenset(MANAGERS)
) -> None:
    found = find_user(connection, user)
    if found is None or found.disabled or found.role not in roles:
        needed = " or ".join(sorted(roles))
        raise TollwayError(Code.NOT_FOUND, f"there is no user {user[:80]!r} with the role {needed}")


def _missing(model: str, user: str) -> TollwayError:
    return TollwayError(
        Code.NOT_FOUND, f"model {model[:80]!r} is not granted to a user {user[:80]!r}"
    )
