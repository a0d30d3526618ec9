"""Which models exist for a caller, whatever they want of them."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.reach import Reach
from protocol.configuration import CALLABLE_STATES
from protocol.errors import Code, TollwayError
from registry.store.tables import models, versions

_SEEN = CALLABLE_STATES | {"retired"}
"""A version in one of these makes its model known to everybody."""


def visible_models(
    connection: Connection, names: Collection[str], reach: Reach
) -> Mapping[str, frozenset[str]]:
    """Each model with the states of its versions. Raises ``MODEL_NOT_FOUND`` for one that does not
    exist, or not for a caller of this reach: the answer is the same.

    Who manages a model knows it before its first version is published.
    """
    query = (
        sa.select(models.c.name, versions.c.state)
        .join(versions, versions.c.model == models.c.name, isouter=True)
        .where(models.c.name.in_(names))
        .distinct()
    )
    states: dict[str, set[str]] = {}
    for name, state in connection.execute(query):
        states.setdefault(name, set()).update(() if state is None else (state,))
    for name in names:
        if name not in states or not (reach.has_model(name) or states[name] & _SEEN):
            raise TollwayError(Code.MODEL_NOT_FOUND, f"there is no model {name[:80]!r}")
    return {name: frozenset(found) for name, found in states.items()}
