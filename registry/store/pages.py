"""Pages of histories, from either end."""

from typing import Any

import sqlalchemy as sa


def from_there(
    query: sa.Select[Any], number: sa.Column[int], after: int, *, newest: bool
) -> sa.Select[Any]:
    """The rows following the one numbered ``after`` (0: from the beginning), oldest first, or with
    ``newest`` newest first."""
    if not newest:
        return query.where(number > after).order_by(number)
    if after:
        query = query.where(number < after)
    return query.order_by(number.desc())
