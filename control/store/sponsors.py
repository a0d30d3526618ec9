"""Sponsors of models: users who see a model because its requirements name them."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.grant_rows import find_grant, is_grant
from control.store.user_tables import grants
from control.store.user_tokens import lock_users, publish_credentials
from control.store.users import find_user
from protocol.errors import Code, TollwayError
from registry.store.audit import record


class ModelSponsors:
    """Grants models to their sponsors, and takes them back; handed to the registry."""

    def named(
        self, connection: Connection, model: str, user: str | None, *, actor: str, at: int
    ) -> None:
        """Grant the model to its sponsor, if it is not yet, and end the grants that others had by
        being named. Raises ``INVALID`` for a name that no user with the role sponsor has."""
        earlier = _named(connection, model) - {user}
        lock_users(connection, *(name for name in (*earlier, user) if name is not None))
        if user is not None:
            _grant(connection, model, user, actor, at)
        for name in sorted(earlier):
            _take_back(connection, model, name, at)


def _named(connection: Connection, model: str) -> set[str]:
    """Who was granted the model by being named."""
    query = sa.select(grants.c.user_name).where(grants.c.model == model, grants.c.named)
    return set(connection.execute(query).scalars())


def _grant(connection: Connection, model: str, user: str, actor: str, at: int) -> None:
    found = find_user(connection, user)
    if found is None or found.disabled or found.role != "sponsor":
        raise TollwayError(
            Code.INVALID, f"sponsor: there is no user {user[:80]!r} with the role sponsor"
        )
    if find_grant(connection, model, user) is not None:
        return
    row = {"created_ms": at, "created_by": actor, "named": True}
    connection.execute(sa.insert(grants).values(model=model, user_name=user, **row))
    publish_credentials(connection, user)
    made = find_grant(connection, model, user)
    record(connection, "grant.created", "grant", f"{model}/{user}", at_ms=at, after=made)


def _take_back(connection: Connection, model: str, user: str, at: int) -> None:
    present = find_grant(connection, model, user)
    if present is None or not present.named:
        return
    connection.execute(sa.delete(grants).where(is_grant(model, user)))
    publish_credentials(connection, user)
    record(connection, "grant.removed", "grant", f"{model}/{user}", at_ms=at, before=present)
