"""What usage is within reach, as a condition: an application's through its consumer, also
after it was deleted, a model's through ownership or a grant."""

import sqlalchemy as sa

from control.reach import NOBODY, Reach
from control.store.applications import filed_within


def is_restricted(reach: Reach) -> bool:
    """Whether there may be usage that is not within reach."""
    return reach.consumer is not None and reach.models is not None


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
