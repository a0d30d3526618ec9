"""What usage is within reach, as a condition: an application's through its consumer, also
after it was deleted, a model's through ownership or a grant."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.reach import EVERYTHING, NOBODY, Reach
from control.store.applications import filed_within
from control.usage_tiers import Dimension


def is_restricted(reach: Reach) -> bool:
    """Whether there may be usage that is not within reach."""
    return reach.consumer is not None and reach.models is not None


def narrowed(connection: Connection, reach: Reach, only: Mapping[Dimension, str | int]) -> Reach:
    """The reach as far as it matters to rows of one ``model`` or ``application``, where ``only``
    names one: nothing has to be asked of each row where all of them are within reach."""
    if not is_restricted(reach):
        return reach
    model, application = only.get("model"), only.get("application")
    if model is not None:
        if reach.has_model(str(model)):
            return EVERYTHING
        reach = Reach(reach.consumer, frozenset())
    if application is not None and reach.consumer != NOBODY:
        own = sa.select(sa.literal(1)).where(filed_within(reach, sa.literal(str(application))))
        if connection.execute(own).first() is not None:
            return EVERYTHING
    return reach


def reaches(
    reach: Reach, application: sa.ColumnElement[str], model: sa.ColumnElement[str]
) -> sa.ColumnElement[bool]:
    """Whether a row of ``application`` and ``model`` is within reach, through either."""
    if not is_restricted(reach):
        return sa.true()
    # One of the two reaches nothing for most: one condition is answered from one index.
    if not reach.models:
        return filed_within(reach, application)
    managed = model.in_(sorted(reach.models))
    return (
        managed if reach.consumer == NOBODY else sa.or_(filed_within(reach, application), managed)
    )
