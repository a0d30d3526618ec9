"""Sponsors of models: users who see a model because its requirements name them."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.grant_rows import find_grant
from control.store.user_tables import grants
from control.store.user_tokens import lock_users, publish_credentials
from control.store.users import find_user
from protocol.errors import Code, TollwayError
from registry.store.audit import record


class ModelSponsors:
    """Grants models to their sponsors; handed to the registry."""

    def named(self, connection: Connection, model: str, user: str, *, actor: str, at: int) -> None:
        """Grant the model to its sponsor, if it is not yet. Raises ``INVALID`` for a name that no
        user with the role sponsor has."""
        lock_users(connection, user)
        found = find_user(connection, user)
        if found is None or found.disabled or found.role != "sponsor":
            raise TollwayError(
                Code.INVALID, f"sponsor: there is no user {user[:80]!r} with the role sponsor"
            )
        if find_grant(connection, model, user) is not None:
            return
        row = {"created_ms": at, "created_by": actor}
        connection.execute(sa.insert(grants).values(model=model, user_name=user, **row))
        publish_credentials(connection, user)
        made = find_grant(connection, model, user)
        record(connection, "grant.created", "grant", f"{model}/{user}", at_ms=at, after=made)
