"""On whose behalf the present code runs: what every audit entry says of who, from where and why."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec

SYSTEM = "system"
"""Actor and role of what the software does by itself."""
ANONYMOUS = "anonymous"
"""Actor and role of a request that needs no credential."""


class Acting(msgspec.Struct, frozen=True, kw_only=True):
    """The origin of a change."""

    actor: str = SYSTEM
    role: str = SYSTEM
    address: str = ""
    """Network address of the client."""
    request_id: str = ""
    reason: str = ""
    """Why, in the words of who asked for it."""


_NOBODY = Acting()
_current: ContextVar[Acting] = ContextVar("acting", default=_NOBODY)


def acting() -> Acting:
    """Who acts now. Threads that the server starts for a request inherit it."""
    return _current.get()


@contextmanager
def acting_as(origin: Acting) -> Iterator[None]:
    """Run the block on behalf of ``origin``."""
    token = _current.set(origin)
    try:
        yield
    finally:
        _current.reset(token)
