"""SQL of declarative configuration beside what the single resources have."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.tables import api_keys, applications, consumers, plans, subscriptions
from control.store.user_tables import users
from protocol.errors import Code, TollwayError
from registry.store import models as model_store
from registry.store.models import ModelRecord
from registry.store.tables import aliases, models


def lock(connection: Connection) -> None:
    """Let nobody else write what a configuration may change until the transaction ends.

    Every other writer locks its few rows before the logs; this one writes many, each with its log
    entry. Without holding the tables first it could wait for a row whose writer waits for the log.
    """
    if connection.dialect.name == "sqlite":
        return  # a writing transaction has the whole database
    names = (users, consumers, applications, api_keys, models, aliases, plans, subscriptions)
    listed = ", ".join(table.name for table in names)
    connection.execute(sa.text(f"LOCK TABLE {listed} IN SHARE ROW EXCLUSIVE MODE"))


def present_models(connection: Connection, managed: frozenset[str] | None) -> list[ModelRecord]:
    """The models among ``managed`` (None: all), by name, with their aliases."""
    query = sa.select(models.c.name).order_by(models.c.name)
    names = [
        name for name in connection.execute(query).scalars() if managed is None or name in managed
    ]
    found = (model_store.get(connection, name) for name in names)
    return [model for model in found if model is not None]


def unused(connection: Connection, application: str) -> None:
    """Refuse to delete an application that has keys or subscriptions: ``CONFLICT``."""
    live = sa.select(sa.func.count()).select_from(api_keys)
    keys = live.where(api_keys.c.application == application, api_keys.c.revoked_ms.is_(None))
    held = sa.select(sa.func.count()).select_from(subscriptions)
    subscribed = held.where(subscriptions.c.application == application)
    for query, what in ((keys, "key"), (subscribed, "subscription")):
        count = connection.execute(query).scalar_one()
        if count:
            number = f"1 {what}" if count == 1 else f"{count} {what}s"
            raise TollwayError(
                Code.CONFLICT,
                f"the application still has {number}: end them first, or name it in the file",
            )
