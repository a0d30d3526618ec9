"""What can go wrong with the database itself, and the one failure that is worth trying again."""

from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from sqlalchemy.exc import (
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

DatabaseError = SQLAlchemyError
"""Anything that the database, or the way to it, refuses."""
DatabaseAway: Final = (OperationalError, InterfaceError, PoolTimeoutError)
"""It does not answer now; it may a moment later."""
DatabaseRefusal: Final = DataError
"""A value that no column takes, such as a text with NUL in it."""
ATTEMPTS: Final = 3

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


def repeated(method: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Run a method that is one transaction again when another has made the same row meanwhile.

    On PostgreSQL two transactions may both find a name free and both insert it: one of them fails
    on the key, and finds the row when it looks again.
    """

    @wraps(method)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        for _ in range(ATTEMPTS - 1):
            try:
                return method(*args, **kwargs)
            except IntegrityError:
                continue
        return method(*args, **kwargs)

    return run
