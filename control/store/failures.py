"""What can go wrong with the database itself, and the one failure that is worth trying again."""

from collections.abc import Callable
from contextvars import ContextVar
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
_CONCURRENT: Final = frozenset({"40001", "40P01"})
"""PostgreSQL's ``serialization_failure`` and ``deadlock_detected``: the transaction is rolled back,
and succeeds when it is run again."""
_within: ContextVar[bool] = ContextVar("within_a_repeated_transaction", default=False)

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


def repeated(method: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Run a method that is one transaction again when another one was in its way: it has made the
    same row meanwhile, or each waited for the other. :data:`ATTEMPTS` times at most.

    On PostgreSQL two transactions may both find a name free and both insert it: one of them fails
    on the key, and finds the row when it looks again. A method that is a part of another's
    transaction is not repeated alone: that transaction is lost, and run again whole.
    """

    @wraps(method)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if _within.get():
            return method(*args, **kwargs)
        token = _within.set(True)
        try:
            for _ in range(ATTEMPTS - 1):
                try:
                    return method(*args, **kwargs)
                except IntegrityError:
                    continue
                except OperationalError as error:
                    if getattr(error.orig, "sqlstate", None) not in _CONCURRENT:
                        raise
            return method(*args, **kwargs)
        finally:
            _within.reset(token)

    return run
